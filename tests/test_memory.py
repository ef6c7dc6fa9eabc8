"""Windows are views: what an epoch takes beyond the series is a few batches, however long the context is."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

ROWS, FEATURES, BATCH = 200_000, 4, 64
EPOCH = """
import resource, sys
import numpy as np
from datetime import date
from pathlib import Path
from unrolled.dataset import Series
from unrolled.datamodule import WindowData
from unrolled.window import make_windows
from unrolled.windowset import open_windows, save_windows

rows, features, batch, context, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def peak():
    # Of this process alone; what the system reports as the maximum of a new process starts at its parent's.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

if sys.argv[6] == "store":
    values = np.random.default_rng(0).normal(size=(rows, features))
    parts = {"train": (0, rows - 20_000), "validation": (rows - 20_000, rows - 10_000), "test": (rows - 10_000, rows)}
    data = Series(values, tuple("abcd")[:features], date(1500, 1, 1), "GWh")
    about = {"task": "noise", "context": context, "horizon": 1, "source": "stand-in", "asked": {}}
    save_windows(make_windows(data, parts, "level", about), Path(folder))
    sys.exit()

loader = WindowData(open_windows(Path(folder)), batch_size=batch, every_step=False, seed=0)
# What any training pays, whatever its windows: torch's own first allocations.
import torch
torch.ones(batch, context, features).clone().sum()
before = peak()
train = loader.train_dataloader()
for number, made in enumerate(train):
    if number == 200:
        break
print(peak() - before, made.inputs.nelement() * 4)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of peak memory")
@pytest.mark.parametrize("context", [33, 2048])
def test_an_epoch_takes_the_series_and_a_few_batches(context: int, tmp_path: Path) -> None:
    folder = tmp_path / "windows"
    folder.mkdir()
    arguments = [str(number) for number in (ROWS, FEATURES, BATCH, context)] + [str(folder)]
    printed = ""
    for step in ("store", "train"):
        done = subprocess.run(
            [sys.executable, "-c", EPOCH, *arguments, step],
            capture_output=True,
            text=True,
            env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    series = ROWS * FEATURES * 8
    stored = sum(path.stat().st_size for path in folder.iterdir())
    assert stored <= 1.2 * series
    grown, batch = map(int, printed.split())
    assert batch == BATCH * context * FEATURES * 4
    assert grown <= 1.2 * series + 4 * batch, f"{grown / 1e6:.1f} MB for a series of {series / 1e6:.1f} MB"
