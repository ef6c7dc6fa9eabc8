"""A model's card: what it is, which data made it, what it may be used for."""

from unrolled.runrecord import RunRecord

DOES = {
    "series": "forecasts the next {horizon} value(s) ({unit}) from the last {context} days",
    "examples": "tells the class of {context} steps of {in_features} numbers",
    "text": "tells how likely each character is to come next",
}
LIMITS = {
    "series": "It knows the past of this one series and nothing else; what the training years did not have, it cannot foresee.",
    "examples": "It knows centred grey pictures like its training data; on others its probabilities mean nothing.",
    "text": "What it writes has the form of its training text and no meaning.",
}


def card(record: RunRecord) -> str:
    """Return the card of a run's model as Markdown. Scores stand in the report, beside their baselines."""
    windows, encoder = record.windows, record.config["encoder"]
    source = "real data" if windows["source"] == "real" else f"{windows['source'].upper()} DATA, generated: not for use"
    parts = ", ".join(f"{name} {high - low:,}" for name, (low, high) in windows["splits"].items())
    lines = [
        f"# {record.name}",
        f"A {encoder['name']} with {encoder['hidden_size']} units that {DOES[windows['kind']].format(**windows)}.",
        f"- Data: {record.task}, {source}, digest {windows['digest'][:12]}; targets: {parts}",
        f"- Attribution of the data: {windows['attribution']}",
        f"- Licence of the data: {windows['licence']}",
        "- Chosen: the epoch with the lowest validation loss; the test was not looked at",
        f"- Limits: {LIMITS[windows['kind']]}",
        f"- Identity: {record.identity[:12]} (the hash of configuration, data and code)",
        "- Scores, beside the baselines that it must beat: reports/index.html of the project",
    ]
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n"
