"""Compose a model: head(pool(encoder(embed(x)))). ``build`` is the only place where sizes meet."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled import transform
from unrolled.batch import Batch
from unrolled.errors import UserError
from unrolled.heads import ClassifyHead, ForecastHead, Head, LanguageHead, Pool, Prediction, QuantileHead
from unrolled.inert import check_inert
from unrolled.yamlfile import read_yaml

SHARED_LAYERS = ("recurrent", "convolution")
HEAD_OF_KIND = {"series": "forecast", "examples": "classify", "text": "language"}
LOSSES_OF_HEAD = {"forecast": ("l1", "mse", "huber"), "classify": ("cross_entropy",), "language": ("cross_entropy",)}
POOLS_OF_HEAD = {"forecast": ("last", "every"), "classify": ("last", "mean_max"), "language": ("every",)}


class SequenceModel(nn.Module):
    """Embed, encode, pool, read out. Free of Lightning."""

    def __init__(self, embed: nn.Module, encoder: Any, pool: Pool, head: Head, params: transform.Params | None) -> None:
        """Args: ``params``: the fitted target transform of a forecaster."""
        super().__init__()
        self.embed, self.encoder, self.pool, self.head = embed, encoder, pool, head
        self.params = params

    def forward(self, inputs: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the head's outputs and the encoder's state.

        Args:
            inputs: (batch, time, features), or (batch, time) tokens.
            state: what an earlier call returned, to go on from there.
            lengths: (batch,) steps that are not padding.
        """
        hidden, state = self.encoder(self.embed(inputs), state, lengths)
        outputs: Tensor = self.head(self.pool(hidden, lengths))
        return outputs, state

    def loss(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """Return the mean loss over the batch's scored targets, and the encoder's state."""
        outputs, state = self(batch.inputs, state, batch.lengths)
        return self.head.loss(outputs, batch.target, batch.target_mask), state

    def predict(self, batch: Batch) -> Prediction:
        """Return what the model says of ``batch``: points or quantiles in physical units, or probabilities."""
        outputs, _ = self(batch.inputs, None, batch.lengths)
        if self.params is None:
            return Prediction("probabilities", torch.softmax(outputs.float(), dim=-1))
        if batch.anchor is None:
            raise ValueError("a forecast needs batch.anchor, the last known raw value (batch, 1)")
        anchor, said = batch.anchor, outputs[:, -1].to(batch.anchor.dtype)
        if isinstance(self.head, QuantileHead):
            values = transform.inverse(self.params, said, anchor[..., None])
            return Prediction("quantiles", values, self.head.levels)
        return Prediction("point", transform.inverse(self.params, said, anchor))


def build(config: Mapping[str, Any], meta: Mapping[str, Any]) -> SequenceModel:
    """Return the untrained model that ``config`` asks for, sized by the windows' ``meta``.

    Raises:
        UserError: an unknown encoder or key, a size that is none, a head that does not fit the data, an every-step head
            on an encoder that sees the future, or a last-step head on one that does not see the whole context.
    """
    name, pool_name = config["head"]["name"], config["head"]["pool"]
    if name != HEAD_OF_KIND[meta["kind"]]:
        raise UserError(f"head.name={name!r} does not fit {meta['task']}, which needs {HEAD_OF_KIND[meta['kind']]!r}")
    for key, valid in (("loss", LOSSES_OF_HEAD[name]), ("pool", POOLS_OF_HEAD[name])):
        if config["head"][key] not in valid:
            raise UserError(
                f"head.{key}={config['head'][key]!r} does not fit head.name={name!r}; valid: {', '.join(valid)}"
            )
    levels = _quantiles(config["head"])
    if config["head"].get("label_smoothing") and name != "classify":
        raise UserError(
            f"head.label_smoothing={config['head']['label_smoothing']} does not fit head.name={name!r}: only a classifier's "
            "labels are smoothed; set it to 0"
        )
    if config["head"]["skip"] >= meta["context"]:
        raise UserError(
            f"head.skip={config['head']['skip']} leaves nothing of a context of {meta['context']} to learn from; lower it"
        )
    embed, in_features = _embedding(config["encoder"], meta)
    encoder = build_encoder(config["encoder"], in_features, meta["context"])
    if pool_name == "every" and not encoder.causal:
        raise UserError(
            "head.pool='every' needs a causal encoder, but this one is bidirectional: each step would have seen its own "
            "target; set encoder.bidirectional=false or head.pool=last"
        )
    sees = encoder.receptive_field
    if pool_name == "last" and sees is not None and sees < meta["context"]:
        raise UserError(
            f"the encoder {config['encoder']['name']!r} sees {sees} steps back, but the context has {meta['context']}: the "
            "first ones could not matter; lower window.context or let the encoder see further"
        )
    pool = Pool(pool_name, encoder.out_features)
    head: Head
    if name == "forecast" and levels:
        head = QuantileHead(pool.out_features, meta["horizon"], levels, config["head"]["skip"])
    elif name == "forecast":
        head = ForecastHead(pool.out_features, meta["horizon"], config["head"]["loss"], config["head"]["skip"])
    elif name == "classify":
        head = ClassifyHead(pool.out_features, meta["classes"], config["head"].get("label_smoothing", 0.0))
    else:
        head = LanguageHead(pool.out_features, len(meta["vocabulary"]))
    return SequenceModel(embed, encoder, pool, head, meta.get("transform"))


def _quantiles(section: Mapping[str, Any]) -> list[float] | None:
    """Return the levels of the section ``head``, or None for points."""
    levels: list[float] | None = section.get("quantiles")  # a model of before there were any has no such key
    if levels is None:
        return None
    if section["name"] != "forecast":
        raise UserError(
            f"head.quantiles={levels} does not fit head.name={section['name']!r}: only a forecast has quantiles; set it to null"
        )
    if section["loss"] != "l1":
        raise UserError(
            f"head.loss={section['loss']!r} does not fit head.quantiles={levels}: quantiles are learned by the pinball loss, "
            "which at 0.5 is half the absolute error; set head.loss=l1, or head.quantiles=null"
        )
    return levels


def encoder_names() -> list[str]:
    """Return the names of the encoders: the modules of ``encoders/``, shared layers excepted."""
    files = (Path(__file__).parent / "encoders").glob("[!_]*.py")
    return sorted(path.stem for path in files if path.stem not in SHARED_LAYERS)


def build_encoder(section: Mapping[str, Any], in_features: int, context: int) -> Any:
    """Return the encoder of a configuration's section ``encoder``.

    Raises:
        UserError: an unknown name or key, or an impossible size.
    """
    name = section.get("name")
    if name not in encoder_names():
        raise UserError(f"unknown encoder.name {name!r}; valid: {', '.join(encoder_names())}")
    encoder = import_module(f"unrolled.encoders.{name}").Encoder
    options = {key: value for key, value in section.items() if key not in ("name", "embedding_size", "known")}
    valid = [
        key for key in inspect.signature(encoder.__init__).parameters if key not in ("self", "in_features", "context")
    ]
    for key, value in options.items():
        if key not in valid:
            raise UserError(f"unknown key in encoder: {key!r}; valid for {name}: {', '.join(sorted(valid))}")
        _check_size(key, value)
    missing = [
        key
        for key, parameter in inspect.signature(encoder.__init__).parameters.items()
        if key in valid and parameter.default is parameter.empty and key not in options
    ]
    if missing:
        raise UserError(f"encoder.{missing[0]} is missing for {name}; give it in the task's or the model's file")
    return encoder(in_features, context, **options)


def _check_size(key: str, value: Any) -> None:
    number = type(value) in (int, float) and math.isfinite(value)
    if key.endswith("dropout") and not (number and 0 <= value < 1):
        raise UserError(f"encoder.{key}={value!r}: expected a number, at least 0 and below 1")
    if type(value) is int and value < 1 and not key.endswith(("dropout", "bias")):
        raise UserError(f"encoder.{key}={value}: expected a whole number, at least 1")
    if key == "num_layers" and type(value) is int and value > 1000:
        raise UserError(f"encoder.num_layers={value}: expected at most 1000")
    if key in ("hidden_size", "num_layers", "kernel_size", "filters") and type(value) is not int:
        raise UserError(f"encoder.{key}={value!r}: expected a whole number, at least 1")
    if key in ("bidirectional", "orthogonal") and type(value) is not bool:
        raise UserError(f"encoder.{key}={value!r}: expected true or false")
    if key in ("window", "levels") and value is not None and type(value) is not int:
        raise UserError(f"encoder.{key}={value!r}: expected a whole number, at least 1, or null")
    if key.endswith("bias") and not number:
        raise UserError(f"encoder.{key}={value!r}: expected a number")


def _embedding(section: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[nn.Module, int]:
    size = section.get("embedding_size")
    if meta["kind"] != "text":
        if size is not None:
            raise UserError(f"encoder.embedding_size={size}: {meta['task']} has numbers, not symbols; set it to null")
        return _known_columns(section.get("known"), meta)
    if section.get("known") is not None:
        raise UserError(f"encoder.known={section['known']}: nothing is known ahead of a text; set it to null")
    if type(size) is not int or size < 1:
        raise UserError(f"encoder.embedding_size={size!r}: expected a whole number, at least 1")
    return nn.Embedding(len(meta["vocabulary"]), size), size


class Columns(nn.Module):
    """Let some of the input's columns through: (batch, time, features) -> (batch, time, kept features)."""

    def __init__(self, kept: Sequence[int]) -> None:
        super().__init__()
        self.kept = list(kept)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the kept columns."""
        return inputs[..., self.kept]


def _known_columns(groups: Any, meta: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Return what passes of a series' inputs: its own columns and, of what is known ahead, all or the named groups."""
    if groups is None:
        return nn.Identity(), meta["in_features"]
    names: list[str] = meta.get("known", [])
    valid = list(dict.fromkeys(name.partition(":")[0] for name in names))
    if not isinstance(groups, list) or not set(groups) <= set(valid):
        known = (
            f"a list of some of {', '.join(valid)}, or null for all" if valid else "null: this task knows nothing ahead"
        )
        raise UserError(f"encoder.known={groups!r}: expected {known}")
    own, horizon = len(meta["features"]), meta["horizon"]
    chosen = [column for column, name in enumerate(names) if name.partition(":")[0] in groups]
    kept = [*range(own), *(own + column * horizon + step for column in chosen for step in range(horizon))]
    return Columns(kept), len(kept)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def save(model: SequenceModel, folder: Path) -> None:
    """Write the weights to ``folder/weights.safetensors``."""
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "weights.safetensors"
    )


# What comes of files that are cut off, swapped or made up: no such key, a list where a name belongs, a size beyond 64 bits.
_DAMAGES = (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def load(folder: Path) -> SequenceModel:
    """Return the trained model of a model folder, ready to predict. Nothing in the folder is executed.

    Raises:
        UserError: the folder's files do not belong together, one is missing, or the configuration holds more than values.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = read_yaml(folder / "config.yaml")
        check_inert(config)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["windows"]
        weights = load_file(folder / "weights.safetensors")
        with torch.device("meta"):  # sizes only: a made-up one must not take the memory that it asks for
            sizes = {name: tensor.shape for name, tensor in build(config, meta).state_dict().items()}
        if sizes != {name: tensor.shape for name, tensor in weights.items()}:
            raise ValueError("weights.safetensors has other sizes than config.yaml and meta.json say")
        model = build(config, meta)
        model.load_state_dict(weights)
    except UserError as error:
        raise UserError(f"{folder}/config.yaml: {error}") from error
    except (*_DAMAGES, SafetensorError) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{folder} is no whole model folder ({told}); train it again") from error
    return model.eval()
