"""Numbers as people read them, the same in tables, cards and on the page."""


def shown(metric: str, value: float | None) -> str:
    """Return a score as people read it: accuracy in percent, errors with as many digits as they deserve."""
    if value is None:
        return ""
    if metric == "accuracy":
        return f"{100 * value:.2f} %"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def percent(share: float | None) -> str:
    """Return a share with its sign, or nothing."""
    return "" if share is None else f"{100 * share:+.1f} %"


def p_shown(p: float | None) -> str:
    """Return a p-value with two digits, or that it is below what two digits can show."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def range_shown(low: float | None, high: float | None) -> str:
    """Return an interval of shares, both ends with their sign, or nothing."""
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def seconds_shown(seconds: float | None) -> str:
    """Return a duration in seconds or minutes, or nothing."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def seeds_shown(count: int) -> str:
    """Return a number of seeds in words."""
    return "1 seed" if count == 1 else f"{count} seeds"


def difference_shown(metric: str, value: float | None) -> str:
    """Return the difference of two scores with its sign: of accuracies in percentage points, of errors as ``shown``'s."""
    if value is None:
        return ""
    digits = 4 if metric in ("loss_nats", "nll") else 2
    return f"{100 * value:+.2f} pp" if metric == "accuracy" else f"{value:+,.{digits}f}"


def spread_shown(metric: str, value: float | None) -> str:
    """Return a standard deviation over seeds, or nothing."""
    return "" if value is None else f"\N{PLUS-MINUS SIGN} {difference_shown(metric, value).lstrip('+')}"
