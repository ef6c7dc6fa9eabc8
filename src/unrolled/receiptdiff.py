"""What two receipts have in common: their inputs, and from where on their results part."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from unrolled.errors import UserError
from unrolled.receipt import check_receipt, curve_digests, read_receipt, read_tensors, receipt_of, tensor_digests

INPUTS = ("cell", "source", "data", "windows", "config", "code", "seed", "machine", "software")
SHOWN = 12  # lines of steps.csv are long enough, and digests are told apart by their beginning


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared.

    Attributes:
        name: as the user names it.
        receipt: its receipt; ``predictions`` may be empty.
        folder: the model folder that the receipt is of, which has every step and number; None if it is not here.
    """

    name: str
    receipt: Mapping[str, Any]
    folder: Path | None = None


@dataclass(frozen=True)
class Parting:
    """Where two loss curves part: the first step that differs is after ``low`` and not after ``high``.

    Attributes:
        low: the last step that is known to be the same, 0 for none.
        high: the first that is known to differ; None if one curve goes on where the other ends.
        told: what each has at ``high``.
    """

    low: int
    high: int | None
    told: tuple[str, str]


def parting(a: Side, b: Side, until: int | None = None) -> Parting | None:
    """Return where the loss curves part, or None if they are the same; to the step with both folders at hand.

    Args:
        a: one run.
        b: another.
        until: only look at steps up to this one.
    """
    if a.folder and b.folder:
        return _parting_of_lines(_lines(a.folder)[:until], _lines(b.folder)[:until])
    curves = [side.receipt["curve"] for side in (a, b)]
    if until is None and curves[0]["sha256"] == curves[1]["sha256"]:
        return None
    low = 0
    for mark in sorted(set(map(int, curves[0]["through"])) & set(map(int, curves[1]["through"]))):
        if until is not None and mark > until:
            break
        if curves[0]["through"][str(mark)] != curves[1]["through"][str(mark)]:
            losses = [f"loss {curve['losses'][str(mark)]:g}" for curve in curves]
            return Parting(low, mark, (losses[0], losses[1]))
        low = mark
    if until is not None:
        return None
    return Parting(low, None, (f"{curves[0]['steps']} steps", f"{curves[1]['steps']} steps"))


def common_mark(a: Side, b: Side, until: int) -> int:
    """Return the last step, at most ``until``, up to which ``parting`` compares."""
    if a.folder and b.folder:
        return min(until, len(_lines(a.folder)), len(_lines(b.folder)))
    marks = set(a.receipt["curve"]["through"]) & set(b.receipt["curve"]["through"])
    return max((int(mark) for mark in marks if int(mark) <= until), default=0)


def _parting_of_lines(a: list[str], b: list[str]) -> Parting | None:
    for number, (one, other) in enumerate(zip_longest(a, b), start=1):
        if one is None or other is None:
            return Parting(number - 1, None, (f"{len(a)} steps", f"{len(b)} steps"))
        if one != other:
            return Parting(number - 1, number, (_told(one), _told(other)))
    return None


def _told(line: str) -> str:
    _, loss, norm = line.split(",")
    return f"loss {loss}, gradient norm {norm}"


def _lines(folder: Path) -> list[str]:
    return (folder / "steps.csv").read_text(encoding="utf-8").splitlines()[1:]


def differing_tensors(a: Side, b: Side) -> list[str]:
    """Return the names of the tensors that differ, with how far where both folders are at hand."""
    one, other = a.receipt["weights"]["tensors"], b.receipt["weights"]["tensors"]
    names = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    if not (a.folder and b.folder):
        return names
    far = _distances(a.folder / "weights.safetensors", b.folder / "weights.safetensors")
    return [f"{name} (by up to {far[name]:.2g})" if name in far else name for name in names]


def _distances(a: Path, b: Path) -> dict[str, float]:
    """Return the largest absolute difference of each float tensor that both files have in the same shape."""
    import numpy as np

    types: dict[str, type[np.floating]] = {"F32": np.float32, "F64": np.float64}
    one, other = (read_tensors(path.read_bytes()) for path in (a, b))
    far = {}
    for name in one.keys() & other.keys():
        if one[name][:2] == other[name][:2] and one[name].dtype in types and one[name].data:
            kind = types[one[name].dtype]
            values = [np.frombuffer(tensor.data, kind).astype(np.float64) for tensor in (one[name], other[name])]
            far[name] = float(np.abs(values[0] - values[1]).max())
    return far


def differing_inputs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the inputs that two receipts do not share, by dotted key: ``machine.threads``, with both values."""
    one, other = (dict(_flat({key: receipt.get(key) for key in INPUTS})) for receipt in (a, b))
    return {
        key: (one.get(key), other.get(key)) for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)
    }


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def explain(a: Side, b: Side) -> list[str]:
    """Return lines that say what differs in the inputs of two runs and where their results part."""
    inputs = _without_sums(differing_inputs(a.receipt, b.receipt)) | _differing_settings(a, b)
    lines = [f"inputs: {'the same' if not inputs else ''}".rstrip()]
    lines += [f"  {key}: {_short(one)} -> {_short(other)}" for key, (one, other) in inputs.items()]
    return [*lines, f"results: {'the same' if same_results(a, b) else ''}".rstrip(), *_results(a, b)]


def same_results(a: Side, b: Side) -> bool:
    """Tell whether two runs have the same loss curve, weights and, as far as both have them, predictions, bit for bit."""
    return parting(a, b) is None and not differing_tensors(a, b) and not differing_predictions(a, b)


def differing_predictions(a: Side, b: Side) -> list[str]:
    """Return the splits whose predictions differ; one that only one side has is not compared."""
    one, other = a.receipt["predictions"], b.receipt["predictions"]
    return [split for split in one if split in other and one[split] != other[split]]


def _results(a: Side, b: Side) -> Iterator[str]:
    yield f"  {curve_line(a, b)}"
    differing, total = differing_tensors(a, b), len(a.receipt["weights"]["tensors"])
    yield f"  weights: {', '.join(differing)} differ" if differing else f"  weights: the same {total} tensors"
    splits, different = a.receipt["predictions"].keys() & b.receipt["predictions"].keys(), differing_predictions(a, b)
    if splits:
        yield f"  predictions: {', '.join(different)} differ" if different else "  predictions: the same"
    else:
        yield "  predictions: not compared, one side has none"
    losses = [side.receipt["best_validation_loss"] for side in (a, b)]
    if losses[0] != losses[1]:
        yield f"  best validation loss: {losses[0]:.6g} -> {losses[1]:.6g}"


def curve_line(a: Side, b: Side, until: int | None = None) -> str:
    """Return a line that says where two loss curves part, if they do."""
    where = parting(a, b, until)
    if where is None:
        steps = a.receipt["curve"]["steps"] if until is None else common_mark(a, b, until)
        return f"loss curve: the same {steps:,} steps"
    told = f"{where.told[0]} -> {where.told[1]}"
    if where.high is None:
        return f"loss curve: the same up to step {where.low:,}, then {told}"
    if where.high == where.low + 1:
        return f"loss curve: parts at step {where.high:,}: {told}"
    return f"loss curve: parts between steps {where.low + 1:,} and {where.high:,}; at step {where.high:,} {told}"


def _differing_settings(a: Side, b: Side) -> dict[str, tuple[Any, Any]]:
    """Return the differing keys of the asked configurations, which only the model folders have."""
    from unrolled.yamlfile import read_yaml

    if not (a.folder and b.folder):
        return {}
    one, other = (dict(_flat(read_yaml(folder / "config.yaml"))) for folder in (a.folder, b.folder))
    keys = [key for key in dict.fromkeys([*one, *other]) if "." in key and one.get(key) != other.get(key)]
    return {f"config.{key}": (one.get(key), other.get(key)) for key in keys}


def _without_sums(inputs: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Drop the checksum of the whole configuration where the section's says more."""
    sections = [key for key in inputs if key.startswith("config.") and key != "config.sha256"]
    return {key: value for key, value in inputs.items() if not (sections and key == "config.sha256")}


def _short(value: Any) -> str:
    return value[:SHOWN] if isinstance(value, str) and len(value) == 64 else json.dumps(value)


def find_side(root: Path, name: str) -> Side:
    """Return the run that ``name`` means: a cell, ``REVISION:CELL``, a receipt's path or a model folder's.

    Raises:
        UserError: there is none.
    """
    revision, colon, cell = name.rpartition(":")
    path = Path(name)
    if colon and not path.exists():
        return Side(name, _committed(root, revision, cell))
    if path.is_dir():
        receipt = receipt_of(path)
        return Side(name, receipt, path)
    if path.is_file():
        return Side(name, read_receipt(path))
    return kept_side(root, name)


def kept_side(root: Path, cell: str) -> Side:
    """Return a cell of the grid as its receipt tells it, with its model folder if that is still the receipt's.

    Raises:
        UserError: there is no such receipt.
    """
    path = root / receipt_place(cell)
    if not path.is_file():
        raise UserError(f"there is no receipt in {path}; make it with: dvc repro evaluate@{cell}")
    receipt, folder = read_receipt(path), root / "data" / "models" / cell
    return Side(cell, receipt, folder if _is_of(receipt, folder) else None)


def receipt_place(cell: str) -> Path:
    """Return where the receipt of a cell, ``energy-gru-0``, stands in a checkout.

    Raises:
        UserError: ``cell`` is not the name of a cell.
    """
    parts = cell.split("-")
    if len(parts) != 3 or not all(part.replace("_", "").isalnum() for part in parts):
        raise UserError(
            f"{cell!r} is neither a cell, such as energy-gru-0, nor a receipt or a model folder that is here"
        )
    return Path("reports", *parts, "receipt.json")


def _is_of(receipt: Mapping[str, Any], folder: Path) -> bool:
    try:
        steps, weights = (folder / "steps.csv").read_bytes(), (folder / "weights.safetensors").read_bytes()
        found = (curve_digests(steps)["sha256"], tensor_digests(weights))
    except (OSError, ValueError):
        return False
    return found == (receipt["curve"]["sha256"], receipt["weights"]["tensors"])


def _committed(root: Path, revision: str, cell: str) -> dict[str, Any]:
    place = f"{revision}:./{receipt_place(cell).as_posix()}"
    command = ["git", "-C", str(root), "cat-file", "blob", place]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git has no {place}: {' '.join(done.stderr.split())}")
    try:
        receipt = json.loads(done.stdout)
    except ValueError as error:
        raise UserError(f"{place} is not JSON ({error}); name another commit") from error
    return check_receipt(receipt if isinstance(receipt, dict) else {}, place)
