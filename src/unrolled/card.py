"""A model's card: what it is, which data made it, how it was judged, what it may be used for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unrolled.runrecord import RunRecord
from unrolled.shown import percent, shown

DOES = {
    "series": "forecasts the next {horizon} value(s) ({unit}) from the last {context} days",
    "examples": "tells the class of {context} steps of {in_features} numbers",
    "text": "tells how likely each character is to come next",
}
LIMITS = {
    "series": "It knows the past of this one series and nothing else; what the training years did not have, it cannot foresee.",
    "examples": "It knows centred grey pictures like its training data; on others its probabilities mean nothing.",
    "text": "What it writes has the form of its training text and no meaning.",
}
VERDICTS = {"beats": "beats", "ties": "is not told apart from", "loses": "loses to"}


def card(record: RunRecord, judged: Mapping[str, Any] | None = None) -> str:
    """Return the card of a run's model as Markdown.

    Args:
        record: the run.
        judged: what ``runrecord.judged_cell`` found; without it, the card says that the model was not judged.
    """
    encoder = record.config["encoder"]
    what = f"Encoder {encoder['name']} with {encoder['hidden_size']} units: {DOES[record.windows['kind']]}."
    kept = record.config["training"].get("keep", "best")  # older model folders do not say
    chosen = {"best": "the epoch with the lowest validation loss", "last": "the last epoch"}[kept]
    chosen += "; the test was not looked at"
    return _card(record, what.format(**record.windows), chosen, "configuration, data and code", judged)


def ensemble_card(record: RunRecord, about: Mapping[str, Any], judged: Mapping[str, Any] | None = None) -> str:
    """Return the card of a task's ensemble as Markdown.

    Args:
        record: the ensemble in a run's place, its configuration no more than ``task``, ``model`` and ``seed``.
        about: the meta.json of its folder.
        judged: as ``card``'s.
    """
    tried = ", ".join(f"{way['name']} {shown(about['loss'], way['validation_loss'])}" for way in about["candidates"])
    chosen = (
        f"{about['chosen']}, by {about['loss']} on held-out blocks of validation ({tried}); the test was not looked at"
    )
    return _card(
        record, f"An ensemble: {about['about']}.", chosen, "the data and its members' identities and weights", judged
    )


def _card(record: RunRecord, what: str, chosen: str, hashed: str, judged: Mapping[str, Any] | None) -> str:
    windows = record.windows
    source = "real data" if windows["source"] == "real" else f"{windows['source'].upper()} DATA, generated: not for use"
    lines = [
        f"# {record.name}",
        what,
        f"- Data: {record.task}, {source}, digest {windows['digest'][:12]}",
        f"- Attribution of the data: {windows['attribution']}",
        f"- Licence of the data: {windows['licence']}",
        f"- Split: {_split(windows)}",
        f"- Chosen: {chosen}",
        *(_judged_lines(judged) if judged else ["- Judged: not yet; scores alone would say nothing"]),
        f"- Limits: {LIMITS[windows['kind']]}",
        f"- Identity: {record.identity[:12]} (the hash of {hashed})",
    ]
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n"


def _split(windows: Mapping[str, Any]) -> str:
    parts = [(name, *windows["splits"][name]) for name in ("train", "validation", "test")]
    if windows["kind"] != "series":
        return ", ".join(f"{name} {high - low:,}" for name, low, high in parts) + " targets"
    start = np.datetime64(windows["start"], "D")  # Python's own days end with the year 9999, long series do not
    return ", ".join(f"{name} {start + low} to {start + (high - 1)} ({high - low:,} days)" for name, low, high in parts)


def _judged_lines(judged: Mapping[str, Any]) -> list[str]:
    """Tell scores, verdict and intervals, each beside what it must beat."""
    cell, model, metric = judged["cell"], judged["model"], judged["metric"]
    unit = f" {judged['unit']}" if judged["unit"] else ""
    plain = [name for name in judged["metrics"] if isinstance(cell.get(name), float) and name != "calibration_error"]
    scores = ", ".join(f"{name} {shown(name, cell[name])}" for name in plain)
    lines = [
        f"- Test scores ({judged['n_test']:,} targets{f', mae and rmse in{unit}' if unit else ''}): {scores}",
        f"- Must beat: {cell['baseline']}, {metric} {shown(metric, cell['baseline_value'])}",
        f"- Verdict: it {VERDICTS[cell['verdict']]} {cell['baseline']}: skill {percent(cell['skill'])} "
        f"(95 % interval {percent(cell['skill_low'])} to {percent(cell['skill_high'])}), p = {cell['p_value']:.2g}",
    ]
    if len(model["seeds"]) > 1:
        lines.append(
            f"- Over {len(model['seeds'])} seeds: {metric} {shown(metric, model['value'])} on average "
            f"(standard deviation {shown(metric, model['value_spread'])}); the model {VERDICTS[model['verdict']]} "
            f"{model['baseline']}, p = {model['p_value']:.2g}"
        )
    interval = cell.get("interval")
    if interval:
        lines.append(
            f"- 90 % intervals ({interval['method']}): {100 * interval['coverage_90']:.1f} % of the test inside, mean width "
            f"{shown('mae', interval['width_90'])}{unit}"
        )
    if "calibration_error" in cell:
        lines.append(f"- Calibration error: {100 * cell['calibration_error']:.2f} % (expected, 15 bins)")
    return lines
