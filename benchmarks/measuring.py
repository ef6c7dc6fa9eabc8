"""What every benchmark shares: repeats that take turns, medians with their spread, and the two files that record them."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "pytorch-lightning", "mlflow", "dvc", "numpy", "neuralforecast", "darts", "keras", "jax")


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        name: what was measured.
        unit: of the values; "ratio" for a quotient of two cases that took turns.
        values: one per repeat.
        target: what it is to reach, or None.
        at_least: whether the target is a floor (True) or a ceiling (False).
    """

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    at_least: bool = True

    @property
    def median(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target

    def as_dict(self) -> dict[str, Any]:
        """Return everything that the JSON file keeps."""
        spread = {"median": self.median, "low": min(self.values), "high": max(self.values)}
        return {"name": self.name, "unit": self.unit, **spread, "repeats": len(self.values), "values": list(self.values),
                "target": self.target, "at_least": self.at_least, "met": self.met}  # fmt: skip


@dataclass
class Section:
    """One comparison: what it measured and how, its figures, and what a reader must know.

    Attributes:
        title: of its table.
        about: how it was measured, in a sentence or two.
        figures: what was measured.
        notes: what is missing, losses, caveats.
        tables: further numbers, by name, for the JSON file.
        drawing: an SVG to lie beside the tables, or None.
    """

    title: str
    about: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    drawing: str | None = None


def take_turns(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, tuple[float, ...]]:
    """Run each case ``repeats`` times, one after the other in every round, and return what they returned.

    Whatever slows the machine for a while then slows all of them. The order turns round from round to round, so that
    none is always the one after a rest. One round before the first warms up and does not count.
    """
    values: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(-1, repeats):
        order = list(cases) if round_ % 2 == 0 else list(reversed(cases))
        for name in order:
            value = cases[name]()
            if round_ >= 0:
                values[name].append(value)
    return {name: tuple(several) for name, several in values.items()}


def ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    """Return the quotients of two cases, round by round."""
    return tuple(a / b for a, b in zip(over, under, strict=True))


def seconds(call: Callable[[], object]) -> float:
    """Return how long ``call`` takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent p of the power law cost ~ size^p: least squares on the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, what they may do, and how busy they were."""
    from unrolled.training import cpu_has_bf16  # not there in the environment of the other libraries

    processor = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if told.is_file():
        lines = dict(line.split(":", 1) for line in told.read_text().splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in lines.items()}
        processor, flags = facts.get("model name", processor), set(facts.get("flags", "").split())
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "bfloat16": (sorted(flags & {"avx512_bf16", "amx_bf16"}) or ["its own instructions"]) if cpu_has_bf16() else [],
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Return the releases of Python and of the packages that matter and are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def record(sections: Mapping[str, Section], quick: bool, folder: Path) -> None:
    """Write ``benchmarks.json``, ``benchmarks.md`` and each section's drawing to ``folder``.

    Sections that this run did not measure stay as an earlier run left them, each with its own machine and versions.
    """
    path = folder / "benchmarks.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    about = {"machine": machine(), "versions": versions(), "quick": quick}
    for name, section in sections.items():
        told = {key: value for key, value in asdict(section).items() if key not in ("figures", "drawing")}
        kept[name] = {**about, **told, "figures": [figure.as_dict() for figure in section.figures]}
        if section.drawing is not None:
            (folder / f"benchmarks-{name}.svg").write_text(section.drawing, encoding="utf-8")
            kept[name]["drawing"] = f"benchmarks-{name}.svg"
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(as_markdown(kept), encoding="utf-8")


def as_markdown(sections: Mapping[str, Any]) -> str:
    """Return the page of all recorded sections."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Cases of a table took turns in one run; medians, lowest to highest.",
        "",
    ]
    for section in sections.values():
        lines += [f"## {section['title']}", "", section["about"], ""]
        if section["figures"]:
            lines += [
                "| | median | spread | repeats | target |",
                "|---|---|---|---|---|",
                *map(_row, section["figures"]),
                "",
            ]
        lines += [f"- {note}" for note in section["notes"]] + [""] * bool(section["notes"])
        if section.get("drawing"):
            lines += [f"![{section['title']}]({section['drawing']})", ""]
        lines += [_footer(section), ""]
    return "\n".join(lines)


def _row(figure: Mapping[str, Any]) -> str:
    target = "" if figure["target"] is None else f"{'≥' if figure['at_least'] else '≤'} {number(figure['target'])}"
    verdict = {True: ": met", False: ": **missed**", None: ""}[figure["met"]]
    spread = f"{number(figure['low'])} .. {number(figure['high'])}"
    cells = (
        figure["name"],
        f"{number(figure['median'])} {figure['unit']}".strip(),
        spread,
        figure["repeats"],
        target + verdict,
    )
    return f"| {' | '.join(map(str, cells))} |"


def _footer(section: Mapping[str, Any]) -> str:
    machine_, quick = section["machine"], " A quick trial: too short to be quoted." if section["quick"] else ""
    load = machine_["load"]
    busy = f", load {load:.1f} at the end" if load is not None else ""
    releases = ", ".join(f"{name} {release}" for name, release in section["versions"].items())
    reduced = f"bfloat16 by {' and '.join(machine_['bfloat16'])}" if machine_["bfloat16"] else "no bfloat16"
    about = f"{machine_['processor']}, {machine_['cores']} cores, {reduced}, {machine_['system']}{busy}"
    return f"<sub>{about}; {releases}.{quick}</sub>"


def number(value: float) -> str:
    """Return ``value`` with three significant digits, thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{value:e}".split("e")[1]))
    return f"{value:,.{digits}f}"


def progress(text: str) -> None:
    """Say on the error stream what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
