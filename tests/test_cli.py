"""The command line: quick help, quick import, one-line errors and exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.cli import STAGES, main

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(path.stem for path in (ROOT / "src/unrolled/commands").glob("[!_]*.py"))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    for name in (*COMMANDS, *STAGES):
        assert f"  {name} " in shown


@pytest.mark.parametrize("name", [*COMMANDS, *STAGES])
def test_a_commands_help_shows_its_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    assert f"usage: unrolled {name}" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from unrolled.cli import main; main(['--help']); main(['train', '--help']);"
        "heavy = {'torch', 'pytorch_lightning', 'mlflow', 'hydra', 'pandas', 'numpy'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_unrolled_loads_nothing_of_others() -> None:
    code = "import sys; before = set(sys.modules); import unrolled; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True)
    assert done.stdout.strip() == "['unrolled']"


def test_an_unknown_command_names_the_valid_ones() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["trian"])
    assert "unknown command 'trian'; valid: " in str(stopped.value)
    assert "train" in str(stopped.value)


def test_config_prints_every_value_with_its_home(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    main(["config", "task=energy", "model=gru", "encoder.hidden_size=9"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("encoder.hidden_size: 9 ") and line.endswith("# command line") for line in lines)
    assert any(line.startswith("encoder.name: gru ") and line.endswith("# conf/model/gru.yaml") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["config", "task=enrgy", "model=gru"], "error: unknown task 'enrgy'"),
        (["train", "-m", "task=energy", "model=gru,gur"], "error: unknown model 'gur'"),
        (["train", "--fast", "task=energy", "model=gru"], "error: unknown option '--fast'; valid: -m"),
        (["train", "task=energy", "model=gru", "out=src"], "src is there and is no run, which could be replaced"),
        (["train", "task=energy", "model=gru", "out=."], "is there and is no run"),
        (["train", "task=energy", "model=gru", "out=README.md"], "is there and is no run"),
        (["train", "task=energy", "model=gru", "out=data/models/energy-gru-0"], "data/ is the grid's"),
        (["train", "task=energy", "model=gru", "out=3"], "error: out=3: expected a folder, such as out=outputs/wide"),
        (["train", "-m", "task=energy", "model=gru,rnn", "out=outputs/x"], "would be written over each other"),
        (
            ["config", "-x"],
            "error: unknown option '-x'; valid: --help, and key=value as `unrolled config --help` shows",
        ),
        (["check", "--deep", "task=energy"], "error: unknown option '--deep'"),
        (["describe", "-m", "task=energy", "model=gru"], "error: unknown option '-m'"),
        (["window", "--force"], "error: unknown option '--force'"),
        (["evaluate"], "error: no run was given"),
        (["evaluate", "run=outputs/nothing"], "is not a model folder"),
        (["predict", "task=energy", "model=rnn", "seed=99"], "train it with: dvc repro train@energy-rnn-99"),
        (["generate", "temperature=hot", "model_seed=99"], "there is no trained model in"),
        (["track", "now"], "error: cannot read 'now'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments: list[str], told: str, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert told in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("command", ["predict", "evaluate", "generate"])
@pytest.mark.parametrize("content", ["{", "[]", '{"task": "energy"}'])
def test_a_damaged_run_is_told(command: str, content: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(SystemExit, match=r"error: .*meta.json is .*; train this model again"):
        main([command, f"run={tmp_path}"])


def test_outside_a_checkout_a_command_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="error: no dvc.yaml in .* go into a checkout"):
        main(["config", "task=energy", "model=gru"])


def test_a_checkout_runs_its_own_code_only(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="put its own code first with PYTHONPATH="):
        main(["config", "task=energy", "model=gru"])
