"""How cost grows: a training step with context, batch and hidden size, the window stage and memory with the series' length."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from measuring import Figure, Section, number, progress, seconds, slope, take_turns
from taskdata import ROOT, config_of
from torch import Tensor

from unrolled.batch import Batch
from unrolled.dataset import Series
from unrolled.model import build
from unrolled.window import make_windows
from unrolled.windowset import save_windows

CONTEXT, BATCH, HIDDEN = 33, 64, 64  # the energy task's, of which one is varied at a time
RANGES: dict[str, tuple[int, ...]] = {
    "context": (33, 64, 128, 256, 512, 1024, 2048),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "hidden size": (32, 64, 128, 256, 512),
}
ROWS = (10_000, 31_623, 100_000, 316_228, 1_000_000)
PEAK = """
import sys
from pathlib import Path
from unrolled.datamodule import WindowData
from unrolled.windowset import open_windows

loader = WindowData(open_windows(Path(sys.argv[1])), batch_size=64, every_step=True, seed=0).train_dataloader()
for number, batch in enumerate(loader):
    if number == 100:
        break
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024)
"""


def measure(quick: bool) -> Section:
    """Measure all curves and fit their exponents."""
    section = Section(
        "Growth",
        f"A training step of a GRU ({CONTEXT} steps of context, batch {BATCH}, {HIDDEN} units; one of them varied at a time), "
        "the window stage, and the peak memory of a process that reads batches. The exponent p of cost ~ size^p is fitted by "
        "least squares on the logarithms.",
    )
    torch.set_num_threads(1)
    curves: dict[str, tuple[tuple[int, ...], list[float]]] = {}
    for name, sizes in RANGES.items():
        progress(f"growth with {name}")
        sizes = sizes[::3] if quick else sizes
        cases = {str(size): training_step(name, size) for size in sizes}
        _add(section, curves, f"a step with {name}", "s", sizes, take_turns(cases, 2 if quick else 5))
    rows = ROWS[::2] if quick else ROWS
    with tempfile.TemporaryDirectory() as scratch:
        progress("growth with rows")
        stage = {str(count): _window_stage(count, Path(scratch) / str(count)) for count in rows}
        _add(section, curves, "the window stage with rows", "s", rows, take_turns(stage, 1 if quick else 5))
        if Path("/proc/self/status").is_file():
            peak = {str(count): _peak(Path(scratch) / str(count)) for count in rows}
            taken = take_turns(peak, 1 if quick else 3)
            _add(section, curves, "peak memory with rows", "MB", rows, taken)
            most, least = taken[str(rows[-1])], taken[str(rows[0])]
            grown = tuple(a / b for a, b in zip(most, least, strict=True))
            section.figures.append(
                Figure(f"peak memory, {rows[-1]:,} rows over {rows[0]:,}", "", grown, 1.1, at_least=False)
            )
    section.drawing = _drawing(curves)
    return section


def _add(
    section: Section,
    curves: dict[str, tuple[tuple[int, ...], list[float]]],
    name: str,
    unit: str,
    sizes: tuple[int, ...],
    taken: dict[str, tuple[float, ...]],
) -> None:
    costs = [float(np.median(taken[str(size)])) for size in sizes]
    curves[name] = (sizes, costs)
    section.tables[name] = {
        "unit": unit,
        "sizes": list(sizes),
        "medians": costs,
        "values": [list(taken[str(s)]) for s in sizes],
    }
    rounds = range(len(taken[str(sizes[0])]))
    exponents = tuple(slope(sizes, [taken[str(size)][round_] for size in sizes]) for round_ in rounds)
    section.figures.append(Figure(f"exponent of {name}, {sizes[0]:,} .. {sizes[-1]:,}", "", exponents))
    section.notes.append(
        f"{name}: " + ", ".join(f"{size:,}: {number(cost)} {unit}" for size, cost in zip(sizes, costs, strict=True))
    )


def training_step(varied: str, size: int) -> Callable[[], float]:
    """Return a training step of the GRU with one of its sizes changed, which tells its seconds."""
    context = size if varied == "context" else CONTEXT
    batch = size if varied == "batch" else BATCH
    hidden = size if varied == "hidden size" else HIDDEN
    config = config_of("energy", "gru", f"encoder.hidden_size={hidden}", f"window.context={context}", "head.skip=7")
    windows = make_windows(_series(context + 300), _parts(context + 300), "level", _about(context))
    model = build(config, windows.meta)
    optimizer = torch.optim.AdamW(model.parameters())
    target = torch.randn(batch, context, 1)
    example = Batch(torch.randn(batch, context, 1), target, torch.ones_like(target, dtype=torch.bool))

    def step() -> None:
        optimizer.zero_grad()
        loss: Tensor = model.loss(example)[0]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return lambda: seconds(step)


def _series(rows: int) -> Series:
    return Series(np.random.default_rng(0).normal(size=(rows, 1)), ("load",), date(1, 1, 1), "GWh")


def _parts(rows: int) -> dict[str, tuple[int, int]]:
    return {"train": (0, rows - 200), "validation": (rows - 200, rows - 100), "test": (rows - 100, rows)}


def _about(context: int) -> dict[str, object]:
    return {"task": "noise", "context": context, "horizon": 1, "source": "stand-in", "asked": {}}


def _window_stage(rows: int, folder: Path) -> Callable[[], float]:
    folder.mkdir()
    series, parts = _series(rows), _parts(rows)
    return lambda: seconds(lambda: save_windows(make_windows(series, parts, "level", _about(CONTEXT)), folder))


def _peak(folder: Path) -> Callable[[], float]:
    def run() -> float:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PEAK, str(folder)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

    return run


def _drawing(curves: dict[str, tuple[Sequence[int], list[float]]]) -> str:
    """Return one panel a curve, both axes logarithmic, the fitted power law dashed."""
    import matplotlib
    import matplotlib.ticker
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(9, 5.2), layout="constrained")
    for panel, (name, (sizes, costs)) in zip(drawing.subplots(2, 3).flat, curves.items(), strict=False):
        power = slope(sizes, costs)
        through = np.exp(np.mean(np.log(costs)) + power * (np.log(sizes) - np.mean(np.log(sizes))))
        panel.loglog(sizes, costs, "o-", markersize=3)
        panel.loglog(sizes, through, "--", color="grey", linewidth=1)
        panel.set_xticks([sizes[0], sizes[-1]], [f"{sizes[0]:,}", f"{sizes[-1]:,}"])
        panel.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        if "memory" in name:  # flat: on an axis of its own a few MB would look like growth
            panel.set_ylim(min(costs) / 10, max(costs) * 10)
        panel.set_title(f"{name}: {power:.2f}", fontsize=9)
        panel.set_ylabel("MB" if "memory" in name else "seconds", fontsize=8)
    for panel in drawing.axes[len(curves) :]:
        panel.remove()
    with matplotlib.rc_context({"svg.hashsalt": "unrolled", "svg.fonttype": "none"}), io.StringIO() as text:
        FigureCanvasSVG(drawing).print_svg(text, metadata={"Date": None})
        return text.getvalue()
