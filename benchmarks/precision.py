"""What each numeric default does to speed and result: bfloat16, threads, denormal numbers, the memory allocator."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from measuring import Figure, Section, number, progress, ratios, seconds, take_turns
from taskdata import ROOT, WITHOUT_BF16, config_of, sources, windows_of_task

from unrolled.batches import TextStreams
from unrolled.learners.supervised import detached
from unrolled.model import build
from unrolled.training import cpu_has_bf16

# glibc gives large blocks back to the system when they are freed and asks for them again at the next step; so it keeps them.
KEEPING = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}


class Training:
    """A text model and its next steps: forward, backward, AdamW."""

    def __init__(self, model: str, hidden: int) -> None:
        torch.manual_seed(0)
        windows = windows_of_task("shakespeare")
        config = config_of("shakespeare", model, f"encoder.hidden_size={hidden}", "encoder.output_dropout=0")
        self.model = build(config, windows.meta)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.batches = TextStreams(windows, "train", streams=32, warm_up=0)
        self.state: Any = None
        self.losses: list[float] = []

    def steps(self, count: int, reduced: bool = False) -> None:
        """Take ``count`` steps, in bfloat16 where autocast allows it if ``reduced``."""
        for _ in range(count):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16) if reduced else nullcontext():
                loss, state = self.model.loss(self.batches[len(self.losses) % len(self.batches)], self.state)
            self.state = detached(state)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.losses.append(loss.item())


def measure(quick: bool) -> Section:
    """Measure each default against its alternative, the two taking turns."""
    section = Section(
        "Numeric defaults",
        "A training step of the text models (32 streams, chunks of 64 characters): its speed over that of the default, which "
        "is fp32 on one thread, and the loss after as many steps.",
        notes=sources("shakespeare"),
    )
    repeats, steps, longest = (1, 2, 2) if quick else (5, 4, 6)
    reduced = [(model, hidden) for model in ("lstm", "gru") for hidden in (256, 512)] if cpu_has_bf16() else []
    section.notes += [] if reduced else [WITHOUT_BF16]
    for model, hidden in reduced[: 1 if quick else None]:
        progress(f"precision {model} {hidden}")
        _compare(section, f"{model} {hidden}: bf16-mixed / fp32", model, hidden, {"reduced": True}, repeats, steps)
    for model in ("lstm", "gru")[: 1 if quick else None]:
        progress(f"threads, denormals {model}")
        if (os.cpu_count() or 1) > 1:
            _compare(section, f"{model} 256: 2 threads / 1", model, 256, {"threads": 2}, repeats, steps)
        _compare(section, f"{model} 256: denormals flushed / kept", model, 256, {"flushed": True}, repeats, steps)
        _allocator(section, model, min(repeats, 3), longest)
    torch.set_num_threads(1)
    return section


def _compare(
    section: Section, name: str, model: str, hidden: int, change: Mapping[str, Any], repeats: int, steps: int
) -> None:
    trainings = {"default": Training(model, hidden), "changed": Training(model, hidden)}

    def case(which: str) -> Callable[[], float]:
        options = dict(change) if which == "changed" else {}

        def run() -> float:
            with _numbers(options.get("threads", 1), options.get("flushed", False)):
                return seconds(lambda: trainings[which].steps(steps, options.get("reduced", False)))

        return run

    taken = take_turns({which: case(which) for which in trainings}, repeats)
    section.figures.append(Figure(name, "", ratios(taken["default"], taken["changed"])))
    losses = {which: training.losses for which, training in trainings.items()}
    same = losses["default"] == losses["changed"]
    told = "bit for bit the same" if same else " and ".join(number(values[-1]) for values in reversed(losses.values()))
    section.notes.append(f"{name}: loss after {len(losses['default'])} steps {told}")


@contextmanager
def _numbers(threads: int, flushed: bool) -> Iterator[None]:
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flushed)
    try:
        yield
    finally:
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)


def _allocator(section: Section, model: str, repeats: int, steps: int) -> None:
    def case(settings: dict[str, str]) -> Callable[[], float]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")]),
            **settings,
        }
        command = [sys.executable, __file__, model, str(steps)]
        return lambda: float(
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        )

    taken = take_turns({"default": case({}), "keeping": case(KEEPING)}, repeats)
    section.figures.append(
        Figure(f"{model} 256: allocator keeps freed memory / default", "", ratios(taken["default"], taken["keeping"]))
    )


def main(model: str, steps: int) -> None:
    """Print the seconds of ``steps`` steps after two that warm up: a process of its own, as an allocator is chosen at start."""
    torch.set_num_threads(1)
    training = Training(model, 256)
    training.steps(2)
    print(seconds(lambda: training.steps(steps)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
