"""A configuration holds values: it calls nothing, reads no environment and names only what is ours."""

import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled.config import compose_config, expand_sweep
from unrolled.errors import UserError
from unrolled.inert import check_inert
from unrolled.model import build_encoder, load
from unrolled.taskmodule import task_module

ROOT = Path(__file__).parents[1]
RUN = ["task=energy", "model=gru"]

CALLS = [
    "encoder._target_=os.system",
    "+encoder._target_=logging.os.system",
    "++_target_=os.system",
    "+head.x={_target_: os.system, _args_: [touch TRACE]}",
    "+encoder.layers=[{a: {_target_: builtins.exec}}]",
    "+training.hook={_partial_: true, name: x}",
    "trainer.callbacks=[{_target_: os.system}]",
    "+judge._recursive_=false",
    "+judge._convert_=all",
    "hydra.sweeper._target_=os.system",
    "+hydra.callbacks.mine={_target_: os.system}",
]
RESOLVERS = [
    "out=${oc.env:CANARY}",
    "out='outputs/${oc.env:CANARY}'",
    "out=${oc.env:CANARY,none}",
    "encoder.hidden_size=${oc.decode:64}",
    "+encoder.x={a: '${oc.create:{b: 1}}'}",
    "out=${hydra:runtime.cwd}",
    "out='${now:%Y}'",
    "out=${${oc.env:CANARY}}",
    "+model@encoder=${oc.env:CANARY}",
    "task=${oc.env:CANARY}",
]


@pytest.mark.parametrize("override", CALLS)
def test_the_command_line_calls_nothing(override: str) -> None:
    with pytest.raises(
        UserError, match="would have code run, and a configuration holds values only; leave it out"
    ) as e:
        compose_config([*RUN, override], ROOT)
    assert str(e.value).startswith(override)


@pytest.mark.parametrize("override", RESOLVERS)
def test_the_command_line_reads_no_environment(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "seen-by-a-resolver")
    with pytest.raises(UserError, match="a resolver would read what is not in the configuration") as refused:
        compose_config([*RUN, override], ROOT)
    assert override in str(refused.value)
    assert "seen-by-a-resolver" not in str(refused.value)


def test_hydras_own_keys_pass_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "seen-by-a-resolver")
    asked = [*RUN, "hydra.run.dir=${oc.env:CANARY}"]
    assert "seen-by-a-resolver" not in str(compose_config(asked, ROOT))
    with pytest.raises(UserError, match=r"'hydra\.run\.dir' not found"):
        compose_config([*asked, "out=${hydra.run.dir}"], ROOT)


def test_a_neighbours_value_can_be_named() -> None:
    config = compose_config([*RUN, "encoder.hidden_size=${window.context}"], ROOT)
    assert config["encoder"]["hidden_size"] == config["window"]["context"]


def test_every_run_of_a_sweep_is_held_to_it() -> None:
    for run in expand_sweep([*RUN, "+encoder.x={_target_: os.system},{_target_: os.popen}"]):
        with pytest.raises(UserError, match="_target_ would have code run"):
            compose_config(run, ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "encoder: {name: gru, x: {_target_: os.system}}",
        "encoder: {name: gru, x: [[{_partial_: true}]]}",
        "encoder: {name: '${oc.env:CANARY}'}",
        "encoder: {name: '${model}'}",
        "_target_: os.system",
    ],
)
def test_the_files_of_conf_are_held_to_it(tmp_path: Path, text: str) -> None:
    for path in (ROOT / "conf").rglob("*.yaml"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "conf/model/mine.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(UserError, match=r"_ would have code run|it has an interpolation"):
        compose_config(["task=energy", "model=mine"], tmp_path)


@pytest.mark.parametrize("override", ["+trainer=../task/energy", "trainer@encoder=../../x", "model=../task/energy"])
def test_a_file_of_conf_is_one_of_its_group(override: str) -> None:
    with pytest.raises(UserError, match=r"unknown (trainer|model) '\.\./.*'; valid: "):
        compose_config([*RUN, override], ROOT)


@pytest.mark.parametrize(
    "name", ["os", "os.system", "../x", "..errors", "unrolled.encoders.gru", "recurrent", "", None]
)
def test_a_name_is_one_of_our_modules(name: Any) -> None:
    before = set(sys.modules)
    with pytest.raises(UserError, match=r"unknown encoder\.name .*; valid: cnn, "):
        build_encoder({"name": name}, 1, 5)
    with pytest.raises(UserError, match=r"unknown task .*; valid: bitcoin, "):
        task_module(name)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"_target_": "os.system"}, "_target_='os.system': _target_ would have code run"),
        (
            {"encoder": {"name": "gru", "x": {"_target_": "os.system"}}},
            "encoder.x._target_='os.system': _target_ would",
        ),
        ({"head": {"name": "${oc.env:CANARY}"}}, "head.name='${oc.env:CANARY}': a resolver would read"),
        ({"encoder": {"name": "os.system"}}, "unknown encoder.name 'os.system'; valid: cnn"),
        ({"encoder": {"name": "../../mine"}}, "unknown encoder.name '../../mine'; valid: cnn"),
        ({"encoder": ["gru"]}, "is no whole model folder (AttributeError: "),
        ({"head": {"name": ["forecast"], "pool": "last"}}, "head.name=['forecast'] does not fit"),
    ],
)
def test_a_stored_configuration_is_held_to_it(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(UserError) as refused:
        load(folder)
    assert told in str(refused.value)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [5, 10**5, 10**30])
def test_a_stored_size_takes_no_memory(tmp_path: Path, size: int) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["encoder"]["hidden_size"] = size
    path.write_text(yaml.safe_dump(config))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="is no whole model folder"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; 10^5 squared are 120 GB


def test_a_stored_configuration_makes_no_objects(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    (folder / "config.yaml").write_text(f"task: !!python/object/apply:os.system ['touch {tmp_path}/trace']\n")
    with pytest.raises(UserError, match=r"is no whole model folder \(\w+: line \d+: it has the tag !!python"):
        load(folder)
    assert not (tmp_path / "trace").exists()


def test_plain_values_pass() -> None:
    check_inert({"encoder": {"name": "gru", "known": ["weekday"], "bias": None, "targets_": 1.5, "text": "$5 {x}"}})
