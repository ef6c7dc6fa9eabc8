"""Tell in words what happens to a batch on its way through a model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.batch import Batch
from unrolled.encoders.convolution import CausalConv
from unrolled.model import SequenceModel, count_parameters

AXES = ("example", "time step", "feature")
QUANTILE_AXES = ("example", "time step", "horizon step", "quantile")
IMAGE_AXES = ("example", "filter", "row", "column")


def describe(model: SequenceModel, batch: Batch, config: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Return the shapes of ``batch`` through every layer, the parameters of each, and what the padding does.

    Args:
        model: as ``build`` made it.
        batch: a real batch.
        config: the composed configuration.
        meta: the windows' meta data.
    """
    rows: list[tuple[str, str, int]] = []
    hooks = []
    for name, layer in model.named_modules():
        if name and not list(layer.children()) and not isinstance(layer, (nn.Dropout, nn.Identity)):
            hooks.append(layer.register_forward_hook(_recorder(rows, name)))
    model.eval()
    with torch.inference_mode():
        outputs, _ = model(batch.inputs, None, batch.lengths)
    for hook in hooks:
        hook.remove()
    lines = [f"{config['task']} with {config['model']}: a batch from its training part, layer by layer", ""]
    table = [("inputs", in_words(batch.inputs), ""), *((name, shape, f"{size:,}") for name, shape, size in rows)]
    table.append(("outputs", in_words(outputs), f"{count_parameters(model):,} in all"))
    widths = [max(len(row[column]) for row in [*table, ("layer", "shape", "")]) for column in range(2)]
    lines.append(f"{'layer':<{widths[0]}}  {'shape':<{widths[1]}}  parameters")
    lines += [f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {size}".rstrip() for name, shape, size in table]
    convolutions = [layer for layer in model.modules() if isinstance(layer, CausalConv)]
    if convolutions:
        first, steps = convolutions[0], batch.inputs.shape[1]
        lines += [
            "",
            f"Why {steps} steps in give {steps} outputs a filter: a filter of {first.kernel_size} inputs fits into {steps} "
            f"steps {_times(steps - first.reach)}, so {first.reach} zeros are put before the first step, on the left only: "
            f"{steps} + {first.reach} - {first.kernel_size} + 1 = {steps}. Padding on the right would show a filter the future.",
        ]
    sees = model.encoder.receptive_field
    reach = "all steps before it" if sees is None else f"itself and the {sees - 1} steps before it"
    lines += [
        "",
        f"An output sees {reach}{'' if model.encoder.causal else ', and all steps after it: it is not causal'}.",
    ]
    return "\n".join(lines)


def _times(count: int) -> str:
    return f"only {count} time{'' if count == 1 else 's'}" if count > 0 else "not even once"


def in_words(tensor: Tensor, axes: tuple[str, ...] = ()) -> str:
    """Return a shape as people say it, (128 examples, 29 time steps, 1 feature), by its ``axes`` or the usual ones."""
    sizes = list(tensor.shape)
    if not axes and len(sizes) == 4:
        axes = QUANTILE_AXES
    elif not axes:
        axes = AXES if len(sizes) == 3 else (AXES[0], AXES[1] if not tensor.is_floating_point() else AXES[2])
    return f"({', '.join(f'{size:,} {axis}' + ('' if size == 1 else 's') for size, axis in zip(sizes, axes, strict=False))})"


def _recorder(rows: list[tuple[str, str, int]], name: str) -> Any:
    def record(layer: nn.Module, _: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(layer, nn.Conv1d):
            tensor = tensor.transpose(1, 2)  # torch's convolutions keep time last
        axes = IMAGE_AXES if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) else ()
        label = f"{name} ({type(layer).__name__})"
        rows.append((label, in_words(tensor, axes), sum(p.numel() for p in layer.parameters())))

    return record
