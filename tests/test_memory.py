"""Windows are views: what an epoch takes beyond the series is a few batches, however long the context is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

ROWS, BATCH = 1_500_000, 64
EPOCH = """
import resource, sys
import numpy as np
from datetime import date
from pathlib import Path
from unrolled.dataset import Series
from unrolled.datamodule import WindowData
from unrolled.window import make_windows
from unrolled.windowset import open_windows, save_windows
from windowsets import series_windows as small_windows

rows, batch, context, folder, every_step = *map(int, sys.argv[1:4]), sys.argv[4], sys.argv[5] == "every"

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

if sys.argv[6] == "store":
    values = np.random.default_rng(0).normal(size=(rows, 1))
    parts = {"train": (0, rows - 20_000), "validation": (rows - 20_000, rows - 10_000), "test": (rows - 10_000, rows)}
    data = Series(values, ("load",), date(1, 1, 1), "GWh")
    about = {"task": "noise", "context": context, "horizon": 1, "source": "stand-in", "asked": {}}
    save_windows(make_windows(data, parts, "level", about), Path(folder))
    sys.exit()

loader = WindowData(open_windows(Path(folder)), batch_size=batch, every_step=every_step, seed=0)
# The mapped file's pages are the page cache's; what counts is what training adds to them, and torch's first use.
loader.windows.arrays["series"].sum()
list(zip(range(2), WindowData(small_windows(), batch_size=batch, every_step=every_step, seed=0).train_dataloader()))
before = peak()
for number, made in enumerate(loader.train_dataloader()):
    if number == 300:
        break
print(peak() - before, sum(part.nelement() * part.element_size() for part in made if part is not None))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of peak memory")
@pytest.mark.parametrize(("context", "steps"), [(33, "last"), (33, "every"), (2048, "last"), (2048, "every")])
def test_an_epoch_takes_the_series_and_a_few_batches(context: int, steps: str, tmp_path: Path) -> None:
    folder = tmp_path / "windows"
    folder.mkdir()
    arguments = [*map(str, (ROWS, BATCH, context)), str(folder), steps]
    printed = ""
    for stage in ("store", "train"):
        done = subprocess.run(
            [sys.executable, "-c", EPOCH, *arguments, stage],
            capture_output=True,
            text=True,
            # What is freed goes back at once, so that the peak is what was held and not what the allocator kept.
            env=clean_environment()
            | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "MALLOC_MMAP_THRESHOLD_": "65536"},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    series = ROWS * 8
    stored = sum(path.stat().st_size for path in folder.iterdir())
    assert stored <= 1.2 * series
    grown, batch = map(int, printed.split())
    assert batch >= BATCH * context * 4
    assert grown <= 1.2 * series + 4 * batch, f"{grown / 1e6:.1f} MB for a series of {series / 1e6:.1f} MB"
