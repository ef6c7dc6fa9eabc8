"""The composed configuration: precedence, and refusals that name what is valid."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from unrolled.config import compose_config, expand_sweep, names, origins, sweep
from unrolled.errors import UserError

ROOT = Path(__file__).parents[1]
TRACKED = sorted(path for group in ("task", "model", "trainer") for path in (ROOT / "conf" / group).glob("*.yaml"))


@pytest.mark.parametrize("task", names(ROOT, "task"))
@pytest.mark.parametrize("model", names(ROOT, "model"))
def test_every_task_composes_with_every_model(task: str, model: str) -> None:
    config = compose_config([f"task={task}", f"model={model}"], ROOT)
    assert config["encoder"]["name"]
    assert (config["task"], config["model"]) == (task, model)


@pytest.mark.parametrize("path", TRACKED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_tracked_conf_file_is_plain(path: Path) -> None:
    """DVC reads these files raw: an interpolation breaks `dvc exp run -S`, and defaults would hide values from it."""
    text = path.read_text()
    assert "${" not in text
    assert "_target_" not in text
    assert "defaults" not in yaml.safe_load(text)
    assert any(line.startswith("# ") and "@package" not in line for line in text.splitlines()), "says what it is for"


@pytest.mark.parametrize("trainer", names(ROOT, "trainer"))
def test_every_trainer_composes(trainer: str) -> None:
    assert compose_config(["task=energy", "model=rnn", f"trainer={trainer}"], ROOT)["trainer"]["threads"] == 1


def test_the_command_line_wins_over_the_files() -> None:
    asked = ["task=energy", "model=gru", "encoder.hidden_size=7", "trainer.max_steps=3"]
    config = compose_config(asked, ROOT)
    assert config["encoder"]["hidden_size"] == 7
    assert config["trainer"]["max_steps"] == 3
    homes = {key: home for key, _, home in origins(config, asked, ROOT)}
    assert homes["encoder.hidden_size"] == homes["trainer.max_steps"] == "command line"
    assert homes["encoder.name"] == "conf/model/gru.yaml"
    assert homes["training.epochs"] == "conf/task/energy.yaml"
    assert homes["trainer.precision"] == "conf/trainer/default.yaml"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["task=enrgy", "model=gru"],
            "unknown task 'enrgy'; valid: bitcoin, bitcoin_prices, energy, energy_calendar, mnist, mnist_pixels, shakespeare; ",
        ),
        (["task=energy", "model=gur"], "unknown model 'gur'; valid: cnn, cnn_13k, "),
        (["task=energy", "model=gru", "trainer=tpu9"], "unknown trainer 'tpu9'; valid: cpu, default, gpu, mps, smoke"),
        (["model=gru"], "no task was given; add task=NAME, one of: bitcoin, bitcoin_prices, energy"),
        (["task=energy"], "no model was given; add model=NAME, one of: cnn, cnn_13k"),
        (["task=energy", "model=gru", "training.epoch=3"], "'epoch'; valid: augmentation, averaging, batch_size"),
        (["task=energy", "model=gru", "+training.epoch=3"], "'epoch'; valid: augmentation, averaging, batch_size"),
        (["task=energy", "model=gru", "+epochs=1"], "unknown key in the configuration: 'epochs'; valid: encoder"),
        (["task=energy", "model=gru", "~window"], "window is missing; it belongs into conf/task/energy.yaml"),
        (["task=energy", "model=gru", "~seed"], "seed is missing; it belongs into conf/config.yaml"),
        (["task=energy", "model=gru", "out=3"], "out=3: expected a folder, such as out=outputs/wide"),
        (["task=energy", "model=gru", "optimizer.lr=1"], "unknown section 'optimizer'; valid: encoder, head"),
        (["task=energy", "model=gru", "epochs=1"], "unknown key in the configuration: 'epochs'; valid: encoder"),
        (["task=energy", "model=gru", "training.epochs=-1"], "training.epochs=-1: expected a whole number, at least 1"),
        (["task=energy", "model=gru", "window.context=many"], "window.context='many': expected a whole number"),
        (
            ["task=energy", "model=gru", "training.learning_rate=0"],
            "training.learning_rate=0: expected a number above 0",
        ),
        (["task=energy", "model=gru", "training.keep=first"], "training.keep='first': expected one of best, last"),
        (["task=energy", "model=gru", "head.loss=l3"], "head.loss='l3': expected one of l1, mse"),
        (
            ["task=energy", "model=gru", "head.quantiles=[0.05,0.95]"],
            "[0.05, 0.95]: expected increasing levels above 0",
        ),
        (
            ["task=energy", "model=gru", "head.quantiles=[0.5,0.5]"],
            "below 1, 0.5 among them, as in [0.05,0.5,0.95], or",
        ),
        (["task=energy", "model=gru", "head.quantiles=[0.9,0.5]"], "head.quantiles=[0.9, 0.5]: expected increasing"),
        (["task=energy", "model=gru", "head.quantiles=[0,0.5]"], "head.quantiles=[0, 0.5]: expected increasing"),
        (["task=energy", "model=gru", "head.quantiles=0.5"], "head.quantiles=0.5: expected increasing"),
        (["task=energy", "model=gru", "window=5"], "window=5: expected the keys context, horizon, transform"),
        (["task=energy", "model=gru", "seed=-1"], "seed=-1: expected a whole number, at least 0"),
        (["task=energy", "model=gru", "seed.x=1"], "seed is a single value"),
        (["task=energy", "model=gru", "~training.epochs"], "training.epochs is missing from conf/task/energy.yaml"),
        (["task=energy", "model=gru", "judge.arima.order=[1,0]"], "'order': [1, 0]"),
        (
            ["task=energy", "model=gru", "judge.arima.seasonal=[1,0,1,1]"],
            "seasonal: [P, D, Q, period], whole numbers, the",
        ),
        (["task=energy", "model=gru", "judge.arima=2"], "judge.arima=2: expected order: [p, d, q] and seasonal:"),
        (["task=energy", "model=gru", "hello"], "Error parsing override 'hello'"),
    ],
)
def test_what_cannot_work_is_refused_with_what_is_valid(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError) as refused:
        compose_config(overrides, ROOT)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_quantiles_are_asked_for_by_their_levels() -> None:
    assert compose_config(["task=energy", "model=gru"], ROOT)["head"]["quantiles"] is None
    asked = compose_config(["task=energy", "model=gru", "head.quantiles=[0.05,0.5,0.95]"], ROOT)
    assert asked["head"]["quantiles"] == [0.05, 0.5, 0.95]


def test_a_sweep_is_every_combination() -> None:
    runs = expand_sweep(["task=energy", "model=rnn,gru", "encoder.hidden_size=32,64"])
    assert len(runs) == 4
    assert ["task=energy", "model=gru", "encoder.hidden_size=32"] in runs


def test_a_sweep_goes_on_where_one_run_fails_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["unrolled"])
    asked, seen = ["task=energy", "model=rnn,gru", "head.quantiles=[0.25,0.5]", "trainer.max_steps=3"], []

    def job(config: dict[str, Any]) -> float:
        seen.append(config)
        if config["model"] == "rnn":
            raise UserError("the loss became inf")
        return 1.0

    with pytest.raises(UserError, match="1 of the sweep's runs failed; the first: the loss became inf"):
        sweep(asked, ROOT, job)
    assert seen == [compose_config([asked[0], f"model={model}", *asked[2:]], ROOT) for model in ("rnn", "gru")]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["multirun.yaml"]
    assert (tmp_path / "outputs/multirun.yaml").is_file()
