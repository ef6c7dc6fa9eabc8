"""Characters per second of text generation on one core: the folded cell, the model called as it is, and the context fed anew."""

import time
from collections.abc import Callable
from typing import Any

import torch
from measuring import Figure, Section, progress, ratios, take_turns
from taskdata import WITHOUT_BF16, config_of, sources, windows_of_task

import unrolled.generate
from unrolled.generate import chooser, generate
from unrolled.model import SequenceModel, build
from unrolled.stepper import PlainStepper
from unrolled.training import cpu_has_bf16

MODELS = ("gru", "lstm")
MANY = 256
CONTEXT = 64  # characters that are read again for every new one where no state is carried
ONE_TARGET, MANY_TARGET = 15_000.0, 250_000.0


def measure(quick: bool) -> Section:
    """Measure both gated cells with 256 units and the command's own temperature and top_k."""
    section = Section(
        "Generation",
        "Characters per second, one thread, 256 units, temperature 0.8, top_k 40; one text, and "
        f"{MANY} side by side in fp32 and bf16. The weights are untrained: the speed does not depend on them. In fp32 both "
        "paths write the same texts, which is checked.",
        notes=sources("shakespeare"),
    )
    if not cpu_has_bf16():
        section.notes.append(WITHOUT_BF16)
    torch.set_num_threads(1)
    long, short = (200, 10) if quick else (2000, 500)
    windows = windows_of_task("shakespeare")
    for name in MODELS:
        progress(f"generation {name}")
        torch.manual_seed(0)
        model = build(config_of("shakespeare", name, "encoder.hidden_size=256"), windows.meta).eval()
        _check_equal(model)
        cases = {
            "one text": _speed(model, long, 1),
            "one text, the model called as it is": _plainly(_speed(model, long, 1)),
            "one text, its last 64 characters read again each time": _again(model, max(long // 40, 5)),
            f"{MANY} texts": _speed(model, short, MANY),
            f"{MANY} texts, bf16": _speed(model, short, MANY, torch.bfloat16),
            f"{MANY} texts, bf16, all symbols": _speed(model, short, MANY, torch.bfloat16, top_k=0),
            f"{MANY} texts, the model called as it is, bf16": _plainly(_speed(model, short, MANY, torch.bfloat16)),
        }
        cases = {case: run for case, run in cases.items() if "bf16" not in case or cpu_has_bf16()}
        taken = take_turns(cases, 2 if quick else 7)
        targets = {"one text": ONE_TARGET, f"{MANY} texts, bf16": MANY_TARGET}
        section.figures += [Figure(f"{name}: {case}", "1/s", taken[case], targets.get(case)) for case in cases]
        one, plain = taken["one text"], taken["one text, the model called as it is"]
        section.figures.append(Figure(f"{name}: one text, folded / as it is", "", ratios(one, plain)))
    return section


def _speed(
    model: SequenceModel, length: int, texts: int, precision: torch.dtype = torch.float32, top_k: int = 40
) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        generate(model, torch.tensor([1, 2, 3]), length, 0.8, top_k, seed=0, streams=texts, precision=precision)
        return length * texts / (time.perf_counter() - began)

    return run


def _plainly(run: Callable[[], float]) -> Callable[[], float]:
    def plainly() -> float:
        fast: Any = unrolled.generate.make_stepper
        unrolled.generate.make_stepper = PlainStepper
        try:
            return run()
        finally:
            unrolled.generate.make_stepper = fast

    return plainly


@torch.inference_mode()
def _read_again(model: SequenceModel, length: int) -> None:
    text, choose = torch.ones(1, CONTEXT, dtype=torch.int64), chooser(0.8, 40)
    for share in (1 - torch.rand(length, 1, 1)).numpy():
        token = torch.from_numpy(choose(model(text[:, -CONTEXT:])[0][:, -1].numpy(), share))
        text = torch.cat([text, token[None]], dim=1)


def _again(model: SequenceModel, length: int) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        _read_again(model, length)
        return length / (time.perf_counter() - began)

    return run


def _check_equal(model: SequenceModel) -> None:
    written = [generate(model, torch.tensor([1, 2, 3]), 200, 0.8, 40, seed=0, streams=3)]
    _plainly(
        lambda: float(written.append(generate(model, torch.tensor([1, 2, 3]), 200, 0.8, 40, seed=0, streams=3)) or 0)
    )()
    if not torch.equal(*written):
        raise RuntimeError("the folded cell and the model as it is write different texts")
