"""Verdicts: at 5 %, over seeds never by the best one, and a loss is called one."""

import numpy as np
import pytest

from unrolled.verdicts import ahead_everywhere, all_pairs, compare, judge_model, p_value, verdict

RNG = np.random.default_rng(0)
BASELINE = np.abs(RNG.normal(0, 10, 600))
BETTER, WORSE = BASELINE * RNG.uniform(0.5, 0.9, 600), BASELINE * RNG.uniform(1.1, 1.5, 600)
ALIKE = BASELINE + RNG.normal(0, 3, 600) - 0.05


@pytest.mark.parametrize(("model", "told"), [(BETTER, "beats"), (WORSE, "loses"), (ALIKE, "ties"), (BASELINE, "ties")])
@pytest.mark.parametrize("kind", ["series", "examples"])
def test_a_model_beats_ties_or_loses(kind: str, model: np.ndarray, told: str) -> None:
    assert verdict(kind, model, BASELINE, p_value(kind, model, BASELINE)) == told


def test_a_forecaster_that_is_ahead_in_one_part_only_does_not_beat() -> None:
    lucky = BASELINE.copy()
    lucky[:150] *= 0.01
    lucky[150:] *= 1.001
    assert not ahead_everywhere(lucky, BASELINE)
    assert verdict("series", lucky, BASELINE, 0.001) == "ties"
    assert verdict("text", lucky, BASELINE, 0.001) == "beats"


def test_skill_and_difference_have_their_signs() -> None:
    told = compare("series", BETTER, BASELINE)
    assert told["difference_low"] < told["difference"] < told["difference_high"] < 0
    assert 0 < told["skill_low"] < told["skill"] < told["skill_high"]
    assert told["skill"] == pytest.approx(1 - BETTER.mean() / BASELINE.mean())


def test_wrong_digits_are_compared_by_mcnemar_and_their_averages_by_a_paired_test() -> None:
    model, baseline = (RNG.random(3000) < 0.02).astype(float), (RNG.random(3000) < 0.05).astype(float)
    from unrolled.significance import mcnemar, paired_test

    assert p_value("examples", model, baseline) == mcnemar(model == 0, baseline == 0).p_value
    average = (model + (RNG.random(3000) < 0.02)) / 2
    assert p_value("examples", average, baseline) == paired_test(average, baseline).p_value


def test_over_seeds_the_average_loss_is_tested_not_the_best_seed() -> None:
    seeds = {0: BETTER, 1: BASELINE * 1.2, 2: BASELINE * 1.2}
    told = judge_model("series", seeds, {"persistence": BASELINE, "ridge": BETTER}, "persistence")
    average = np.mean(list(seeds.values()), axis=0)
    assert told["skill"] == pytest.approx(1 - average.mean() / BASELINE.mean())
    assert told["verdict"] != "beats"
    assert told["p_value_by_seed"]["0"] < 0.001
    assert set(told["against"]) == {"persistence", "ridge"}
    assert told["against"]["ridge"]["difference"] == pytest.approx(average.mean() - BETTER.mean())


def test_pairs_of_models_are_corrected_together() -> None:
    pairs = all_pairs("series", {"gru": BETTER, "rnn": WORSE, "cnn": BETTER * 1.0001})
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("cnn", "gru"), ("cnn", "rnn"), ("gru", "rnn")]
    assert all(pair["p_holm"] >= pair["p_value"] for pair in pairs)
    assert pairs[2]["verdict"] == "beats"
    assert all_pairs("series", {"gru": BETTER}) == []
