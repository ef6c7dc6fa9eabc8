"""A cell's receipt: what went in, where it ran, and the checksums of what came out.

Two receipts with the same inputs and machine must have the same results; ``receiptdiff`` says what two have in common.
No times, hosts, paths or commits: the same run gives the same bytes again.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unrolled.errors import UserError
from unrolled.identity import asked_of
from unrolled.jsonfile import read_json

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.windowset import SplitName

SHORT = 12  # hex digits where there are many checksums: enough to tell two runs apart
# What decides bits beside data, code and configuration. Another value of these excuses other bits ...
MACHINE = ("device", "precision", "threads", "platform", "processor", "instructions")
# ... and of these does not: an upgrade that changes results is to be seen.
SOFTWARE = ("lock", "python", "libraries", "deterministic")
STEPS_HEADER = "step,loss,gradient_norm"
RESTORE = "bring it back with `git restore`, or make it anew: dvc repro --force --single-item evaluate@TASK-MODEL-SEED"


class StoredTensor(NamedTuple):
    """A tensor as a safetensors file has it: type (``F32``), shape and bytes."""

    dtype: str
    shape: list[int]
    data: bytes


def receipt_of(folder: Path, tables: Mapping["SplitName", "pd.DataFrame"] | None = None) -> dict[str, Any]:
    """Return the receipt of a model folder and of the predictions that its model made.

    A value is a string, a number or a mapping of such, never a list: DVC would look for a plot in it.

    Args:
        folder: as train wrote it.
        tables: the predictions of each split, as ``predict_split`` returned them; None leaves them out.

    Raises:
        UserError: the folder lacks a file or one is damaged.
    """
    from unrolled.yamlfile import read_yaml

    again = "train it again"
    meta, facts = read_json(folder / "meta.json", dict, again), read_json(folder / "facts.json", dict, again)
    try:
        config = read_yaml(folder / "config.yaml")
        weights = (folder / "weights.safetensors").read_bytes()
        return {
            "cell": f"{meta['task']}-{meta['model']}-{meta['seed']}",
            "identity": meta["identity"],
            "source": meta["data_source"],
            "data": meta["windows"]["raw_sha256"],
            "windows": meta["data_digest"],
            "config": config_digests(config),
            "code": facts["code"],
            "seed": meta["seed"],
            "machine": {key: facts[key] for key in MACHINE},
            "software": {key: facts[key] for key in SOFTWARE},
            "curve": curve_digests((folder / "steps.csv").read_bytes()),
            "best_epoch": meta["best_epoch"],
            "best_validation_loss": meta["best_validation_loss"],
            "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "tensors": tensor_digests(weights)},
            "predictions": {split: table_digest(table) for split, table in (tables or {}).items()},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is no whole model folder ({type(error).__name__}: {error}); {again}") from error


# What a receipt must have for two to be compared; the rest is only shown.
_FORM = {
    "cell": str, "data": dict, "windows": str, "config": dict, "code": str, "seed": int, "machine": dict, "software": dict,
    "curve": dict, "weights": dict, "predictions": dict, "best_validation_loss": float,
}  # fmt: skip
_PARTS = {"curve": ("steps", "sha256", "losses", "through"), "weights": ("sha256", "tensors"), "machine": MACHINE}


def read_receipt(path: Path) -> dict[str, Any]:
    """Return the receipt in the file ``path``.

    Raises:
        UserError: there is none, or it is damaged.
    """
    return check_receipt(read_json(path, dict, RESTORE), str(path))


def check_receipt(receipt: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return ``receipt``, which comes from ``origin``, if it is one.

    Raises:
        UserError: it is not.
    """
    wrong = [key for key, kind in _FORM.items() if not isinstance(receipt.get(key), kind)]
    wrong += [
        f"{key}.{part}"
        for key, parts in _PARTS.items()
        if key not in wrong
        for part in parts
        if part not in receipt[key]
    ]
    if wrong:
        raise UserError(f"{origin} is not a receipt: {wrong[0]} is missing or of another kind; {RESTORE}")
    return receipt


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> None:
    """Write ``receipt`` to ``path``, whole or not at all."""
    from unrolled.outputs import write_whole

    write_whole(path, json.dumps(receipt, indent=1) + "\n")


def config_digests(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of the asked configuration, as the identity takes it, and short ones of its sections."""
    asked = asked_of(config, "", "")["config"]
    parts = {section: _sha256(_canonical(value))[:SHORT] for section, value in asked.items() if isinstance(value, dict)}
    return {"sha256": _sha256(_canonical(asked))} | parts


def curve_digests(steps: bytes) -> dict[str, Any]:
    """Return the sha256 of a steps.csv, and the loss and the sha256 of all up to the steps 1, 2, 4, 8 ... and the last.

    ``through[k]`` begins the sha256 of the file's first k + 1 lines (``head -n``), so two receipts alone tell between
    which steps two runs part.

    Raises:
        ValueError: the file is not as train writes it.
    """
    header, *lines = steps.decode("utf-8").splitlines(keepends=True)
    if header.rstrip("\n") != STEPS_HEADER or not lines:
        raise ValueError(f"steps.csv begins with {header[:40]!r}, expected {STEPS_HEADER!r} and steps")
    rolling = hashlib.sha256(header.encode())
    losses, through = {}, {}
    for number, line in enumerate(lines, start=1):
        step, loss, _ = line.split(",")
        if int(step) != number:
            raise ValueError(f"steps.csv has step {step} in the place of step {number}")
        rolling.update(line.encode())
        if number & (number - 1) == 0 or number == len(lines):
            losses[step], through[step] = float(f"{float(loss):.6g}"), rolling.hexdigest()[:SHORT]
    return {"steps": len(lines), "sha256": rolling.hexdigest(), "losses": losses, "through": through}


def tensor_digests(weights: bytes) -> dict[str, str]:
    """Return a short sha256 over type, shape and bytes of every tensor of a safetensors file."""
    return {
        name: _sha256(f"{tensor.dtype} {tensor.shape} ".encode() + tensor.data)[:SHORT]
        for name, tensor in read_tensors(weights).items()
    }


def read_tensors(weights: bytes) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file, by name, without torch.

    Raises:
        ValueError: it is not one.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(weights)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: StoredTensor(about["dtype"], about["shape"], bytes(about["data"])) for name, about in sorted(found)}


def table_digest(table: "pd.DataFrame") -> str:
    """Return the sha256 over names, types and values of a table's columns; not of a file, whose bytes change with pandas."""
    import numpy as np

    content = hashlib.sha256()
    for name, column in table.items():
        values = column.to_numpy()
        if values.dtype.kind == "M":
            values = values.astype("datetime64[s]").astype(np.int64)
        content.update(f"{name} {values.dtype.newbyteorder('<').str} ".encode())
        content.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
