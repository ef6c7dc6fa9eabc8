"""The leak check that trains on shuffled targets: nothing can be learned then, unless the inputs hold the target."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.batch import Batch
from unrolled.batches import TextStreams
from unrolled.dataset import RawData
from unrolled.leakpipeline import BATCH, Cut, Finding, Pipeline, looked_at
from unrolled.model import SequenceModel
from unrolled.perturbation import shuffle_targets
from unrolled.windowset import WindowSet

STEPS, LEARNING_RATE = 200, 0.01
SHUFFLES = 3
BLOCKS = 20
# In 72 shuffles of 13 clean pairs of task and model two gained 7 % by luck, none other 4 %; planted leaks gain 64 to 99 %.
TOLERANCE = 0.05  # share of the constant's loss
ERRORS = 3.0  # standard errors


def check_shuffled_targets(data: RawData, windows: WindowSet, pipeline: Pipeline) -> Finding:
    """Train on shuffled targets and compare with always saying the training mean, on the validation part as it is.

    Nothing can be learned then, unless the inputs hold the target. The loss is squared error in the transformed
    target's space, or nats against the training frequencies. By luck a model can be better than the mean where
    validation has moved away from training, as a price does; so it has to be better by more than ``TOLERANCE`` and
    ``ERRORS`` standard errors with each of ``SHUFFLES`` shuffles and first weights before it is called a
    leak.
    """
    returns = windows.meta.get("transform", {}).get("name") == "log_return"
    low, high = windows.split("train")
    if windows.meta["kind"] == "series":
        low = max(low - windows.meta["context"], 0)
    told = ""
    for seed in range(SHUFFLES):
        shuffled = pipeline.windows(shuffle_targets(data, (low, high), seed, returns))
        model = pipeline.model(shuffled.meta, seed)
        batches = _drawn(pipeline.cut(shuffled, "train"), seed)
        learn(model, batches)
        loss, constant, name = score(model, batches, list(looked_at(pipeline.cut(shuffled, "validation"))))
        told = (
            f"trained on them, validation loss {loss.mean():.4f}; {name}: {constant.mean():.4f} "
            f"(a gain of {gain(loss, constant):+.1%}; over {TOLERANCE:.0%} is suspect)"
        )
        if not beats(loss, constant):
            return Finding("shuffled targets", "ok", told)
    return Finding("shuffled targets", "LEAK", f"in each of {SHUFFLES} shuffles, the last one here: {told}")


def learn(model: SequenceModel, batches: Sequence[Batch]) -> None:
    """Train on ``batches``, once each: a bare loop, in which it is plain that nothing else is looked at.

    The Trainer of the stage would choose an epoch on validation, write checkpoints, and take longer to start than
    this takes to end.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    model.train()
    for step, batch in enumerate(batches):
        torch.manual_seed(step)  # dropout
        loss, _ = model.loss(batch)  # streams start anew with every chunk
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def score(
    model: SequenceModel, train: Sequence[Batch], validation: Sequence[Batch]
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return the loss of each scored validation target, the model's and a constant's, and what the constant is.

    The constant is the mean (the frequencies) of the training targets or, if that is better, the model's own mean
    answer: a constant has seen no target, however well it happens to fit.
    """
    model.eval()
    with torch.inference_mode():
        outputs = [model(batch.inputs)[0] for batch in validation]
    answers = torch.cat([_answers(said, batch) for said, batch in zip(outputs, validation, strict=True)])
    seen, asked = (torch.cat([_targets(batch) for batch in part]) for part in (train, validation))
    if seen.is_floating_point():
        constants = {"the training mean": seen.mean(dim=0), "its own mean": answers.mean(dim=0)}
    else:
        counts = torch.bincount(seen, minlength=answers.shape[1]) + 1.0
        own = answers.softmax(dim=1).mean(dim=0)
        constants = {"the training frequencies": (counts / counts.sum()).log(), "its own mean": own.log()}
    losses = {name: _losses(constant.expand_as(answers), asked) for name, constant in constants.items()}
    best = min(losses, key=lambda name: float(losses[name].mean()))
    return _losses(answers, asked), losses[best], best


def gain(loss: NDArray[np.float64], constant: NDArray[np.float64]) -> float:
    """Return the share of the constant's loss that the model saves."""
    return float(1 - loss.mean() / constant.mean())


def beats(loss: NDArray[np.float64], constant: NDArray[np.float64]) -> bool:
    """Tell whether the model is better by more than the tolerance and than standard errors of blocks of neighbours."""
    blocks = [block.mean() for block in np.array_split(constant - loss, min(BLOCKS, len(loss)))]
    error = np.std(blocks, ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else 0.0
    return bool(gain(loss, constant) > TOLERANCE and np.mean(blocks) > ERRORS * error)


def _drawn(cut: Cut, seed: int) -> list[Batch]:
    if isinstance(cut, TextStreams):
        return [cut[step % len(cut)] for step in range(STEPS)]
    draw = np.random.default_rng(seed)
    return [cut.__getitems__(draw.integers(len(cut), size=BATCH).tolist()) for _ in range(STEPS)]


def _targets(batch: Batch) -> Tensor:
    """Return the scored targets: (targets, horizon), or (targets,) of classes."""
    if batch.target_mask is None:
        return batch.target
    if batch.target.is_floating_point():
        return batch.target[batch.target_mask[:, :, 0]]
    return batch.target[batch.target_mask]


def _answers(outputs: Tensor, batch: Batch) -> Tensor:
    """Return what the model says of the scored targets: (targets, horizon or classes)."""
    if batch.target_mask is None:
        return outputs
    mask = batch.target_mask if batch.target_mask.ndim == 2 else batch.target_mask[:, :, 0]
    return outputs[:, -mask.shape[1] :][mask]


def _losses(answers: Tensor, targets: Tensor) -> NDArray[np.float64]:
    if targets.is_floating_point():
        return (answers - targets).square().mean(dim=1).numpy().astype(np.float64)
    return F.cross_entropy(answers, targets, reduction="none").numpy().astype(np.float64)
