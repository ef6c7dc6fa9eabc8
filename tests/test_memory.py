"""Memory is bounded by the data: windows are views, a csv is eight bytes a row, and each stage tells its peak."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, Fault, clean_environment

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


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of peak memory")


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


TASK = """
from datetime import date

from unrolled.csvcolumns import read_column
from unrolled.dataset import Series
from unrolled.rawfile import RawFile

LICENCE = ATTRIBUTION = "none"
FILES = (RawFile("mine.csv", "", (), "mine/mine.csv", 10**9, 10**9),)


def read(folder):
    return Series(read_column(folder / "mine.csv", "load")[:, None], ("load",), date(1, 1, 1), "MW")


def split(data):
    rows = len(data.values)
    parts = (0, rows - 20_000, rows - 10_000, rows)
    return dict(zip(("train", "validation", "test"), zip(parts, parts[1:])))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a task of one's own: a csv of 10^7 rows, as its publisher would offer it."""
    root = tmp_path_factory.mktemp("own")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "src/unrolled/tasks/mine.py").write_text(TASK)
    conf = yaml.safe_load((root / "conf/task/energy.yaml").read_text()) | {"split": {}}
    (root / "conf/task/mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(conf))
    raw = root / "data/raw/mine/mine.csv"
    raw.parent.mkdir(parents=True)
    numbers = np.random.default_rng(0).normal(1000, 100, 10_000)
    block = "".join(f"2006-01-01T00:00:00,{number:.3f}\n" for number in numbers)
    with raw.open("w") as file:
        file.write("time,load\n")
        file.writelines(block for _ in range(1_000))
    with raw.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    (raw.parent / "source.json").write_text(json.dumps({"source": "real", "sha256": {"mine.csv": sha256}}))
    return root


def _stage(root: Path, stage: str, *arguments: str) -> tuple[int, str]:
    """Run a stage as DVC does and return the peak that it notes, in bytes, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"unrolled.{stage}", *arguments],
        cwd=root,
        env=clean_environment() | {"PYTHONPATH": "src", "DVC_STAGE": f"{stage}@mine"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    note = root / "data/sidecars/stages" / f"{stage}@mine.json"
    return json.loads(note.read_text())["peak_bytes"], done.stdout


@pytest.mark.slow
@pytest.mark.chaos(make_test=True)
def test_ten_million_rows_are_cut_and_trained_on_within_two_gigabytes(own: Path, fault: Fault) -> None:
    with fault("a csv of 10 million rows", "cut into windows within 700 MB"):
        peak, told = _stage(own, "window", "task=mine")
        assert "train 9,979,967" in told
        assert f"window@mine: {peak / 1e6:,.0f} MB of memory at its height" in told
        assert 80e6 < peak < 700e6, f"{peak / 1e6:.0f} MB"
    with fault("a csv of 10 million rows", "trained on within 2 GB"):
        options = ("trainer=smoke", "training.batch_size=512", "trainer.limit_train_batches=50")
        peak, _ = _stage(own, "train", "task=mine", "model=gru", "out=data/models/mine-gru-0", *options)
        assert 80e6 < peak < 2e9, f"{peak / 1e6:.0f} MB"
        (sidecar,) = (path for path in (own / "data/sidecars").glob("*.json"))
        assert 0 < json.loads(sidecar.read_text())["peak_bytes"] <= peak, "the run's own record has it too"


@pytest.mark.slow
def test_each_stage_of_a_pipeline_tells_its_peak_which_is_bounded(checkout: Path) -> None:
    peaks = {
        path.stem: json.loads(path.read_text())["peak_bytes"]
        for path in (checkout / "data/sidecars/stages").glob("*.json")
    }
    stages = yaml.safe_load((checkout / "dvc.lock").read_text())["stages"]
    assert set(peaks) == set(stages)
    heavy = ("train", "evaluate")  # torch, and for train Lightning and MLflow
    for stage, peak in peaks.items():
        bound = 1_200e6 if stage.startswith(heavy) else 600e6
        assert peak < bound, f"{stage}: {peak / 1e6:.0f} MB"
