"""A card says what a model is, which data made it and how it was judged, or that it was not."""

from typing import Any

import pytest
from trainedfolders import IDENTITY, config_for
from windowsets import example_windows, series_windows, text_windows

from unrolled.card import card
from unrolled.runrecord import RunRecord
from unrolled.windowset import WindowSet

VERDICT = {"verdict": "beats", "baseline": "ridge", "baseline_value": 4.0, "skill": 0.25, "p_value": 0.0123}
RANGE = {"skill_low": 0.1, "skill_high": 0.4}
INTERVAL = {"interval": {"method": "conformal, static, signed", "coverage_90": 0.875, "width_90": 12.5}}


def _card(windows: WindowSet, judged: dict[str, Any] | None = None) -> list[str]:
    config = config_for(windows)
    lines = card(RunRecord(IDENTITY, config, windows.meta), judged).splitlines()
    assert lines[0] == f"# {windows.meta['task']}-gru-0"
    return lines


def _judged(metric: str, value: float, unit: str | None, seeds: int = 1, **cell: Any) -> dict[str, Any]:
    model = VERDICT | {"seeds": list(range(seeds)), "value": value, "value_spread": 0.125 if seeds > 1 else None}
    scores = {metric: value, "calibration_error": 0.02} if metric == "accuracy" else {metric: value}
    return {
        "metric": metric,
        "metrics": list(scores),
        "unit": unit,
        "n_test": 1234,
        "cell": VERDICT | RANGE | scores | cell,
        "model": model | {"verdict": "ties"},
    }


@pytest.mark.parametrize("make", [series_windows, example_windows, text_windows])
def test_a_card_says_what_made_the_model_and_that_it_was_not_judged(make: Any) -> None:
    windows = make()
    lines = _card(windows)
    for line in (
        f"- Data: {windows.meta['task']}, STAND-IN DATA, generated: not for use, digest {windows.meta['digest'][:12]}",
        "- Attribution of the data: made for a test",
        "- Licence of the data: none",
        "- Judged: not yet; scores alone would say nothing",
        f"- Identity: {IDENTITY[:12]} (the hash of configuration, data and code)",
    ):
        assert line in lines
    assert not [line for line in lines if "Verdict" in line]


def test_a_judged_forecaster_stands_beside_what_it_must_beat() -> None:
    lines = _card(series_windows(), _judged("mae", 3.0, "GWh", seeds=3, **INTERVAL))
    for line in (
        "- Test scores (1,234 targets, mae and rmse in GWh): mae 3.0000",
        "- Must beat: ridge, mae 4.0000",
        "- Verdict: it beats ridge: skill +25.0 % (95 % interval +10.0 % to +40.0 %), p = 0.012",
        "- Over 3 seeds: mae 3.0000 on average (standard deviation 0.1250); the model is not told apart from ridge, p = 0.012",
        "- 90 % intervals (conformal, static, signed): 87.5 % of the test inside, mean width 12.50 GWh",
    ):
        assert line in lines
    assert not [line for line in lines if "not yet" in line]


def test_a_judged_classifier_tells_its_calibration_and_one_seed_claims_no_spread() -> None:
    lines = _card(example_windows(), _judged("accuracy", 0.98, None))
    assert "- Test scores (1,234 targets): accuracy 98.00 %" in lines
    assert "- Calibration error: 2.00 % (expected, 15 bins)" in lines
    assert not [line for line in lines if "seeds" in line or "intervals (" in line]


def test_a_judged_language_model_has_no_unit() -> None:
    lines = _card(text_windows(), _judged("loss_nats", 1.5, None, verdict="loses"))
    assert "- Test scores (1,234 targets): loss_nats 1.5000" in lines
    assert [line for line in lines if line.startswith("- Verdict: it loses to ridge")]


def test_a_card_says_which_epoch_was_kept() -> None:
    windows = series_windows()
    config = config_for(windows)
    told = []
    for keep in ({}, {"keep": "best"}, {"keep": "last"}):
        asked = config | {"training": config["training"] | keep}
        told.append([line for line in card(RunRecord(IDENTITY, asked, windows.meta)).splitlines() if " epoch" in line])
    older, best, last = told
    assert older == best
    assert "the epoch with the lowest validation loss; the test was not looked at" in best[0]
    assert "the last epoch; the test was not looked at" in last[0]
