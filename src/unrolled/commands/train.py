"""Train one model, or sweep over several, outside the grid: writes under outputs/ and logs to MLflow.

usage: unrolled train task=energy model=gru [encoder.hidden_size=128 ...] [out=FOLDER]
       unrolled train -m task=energy model=rnn,lstm,gru encoder.hidden_size=32,64

Overrides are Hydra's; -m (--multirun) runs every combination. All of them are checked before the first one runs.
trainer=cpu, gpu, mps or smoke chooses where; any scalar argument of Lightning's Trainer can follow, trainer.max_steps=100.
`unrolled config` with the same arguments shows the composed configuration. The windows come from data/windows/<task>
(dvc repro window@<task>); another window.context or split is cut from data/raw for this run alone.
"""

from collections.abc import Sequence
from pathlib import Path

from unrolled.checkout import project_root
from unrolled.config import Config, compose_config, expand_sweep, sweep
from unrolled.console import one_line_errors
from unrolled.errors import UserError

MULTIRUN = ("-m", "--multirun")


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        overrides = [argument for argument in arguments if argument not in MULTIRUN]
        several = len(overrides) < len(arguments)
        configs = [compose_config(run, root) for run in (expand_sweep(overrides) if several else [overrides])]
        if len({config["out"] for config in configs} - {None}) not in (0, len(configs)):
            raise UserError(f"out={configs[0]['out']}: several runs would be written over each other; leave out= out")
        for config in configs:
            check(config, root)
        if several:
            sweep(overrides, root, lambda config: train_one(config, root))
        else:
            train_one(compose_config(overrides, root), root)


def check(config: Config, root: Path) -> None:
    """Refuse before anything runs what the model or the Trainer would refuse.

    Raises:
        UserError: the sizes, names or the machine do not fit, or it would be written over something else.
    """
    _check_out(config["out"], root)

    from unrolled.model import build
    from unrolled.oneoff import windows_for
    from unrolled.training import make_trainer
    from unrolled.windowset import open_windows

    build(config, open_windows(windows_for(config, root)).meta)
    make_trainer(config, [])


def _check_out(asked: object, root: Path) -> None:
    """Refuse an ``out=`` whose content is not an earlier run: the new run would take its place."""
    if asked is None or asked == "":
        return
    if not isinstance(asked, str):
        raise UserError(f"out={asked!r}: expected a folder, such as out=outputs/wide")
    out = (root / asked).resolve()
    if out.is_relative_to((root / "data").resolve()):
        raise UserError(
            f"out={asked}: data/ is the grid's, and `dvc repro` fills it; name a folder such as outputs/wide"
        )
    if out.exists() and not (out / "weights.safetensors").is_file():
        raise UserError(f"out={asked}: {out} is there and is no run, which could be replaced; name a new folder")


def train_one(config: Config, root: Path) -> float:
    """Train one run and return its validation loss, which a sweeper may minimise."""
    from unrolled.identity import asked_of, identity_of
    from unrolled.oneoff import windows_for
    from unrolled.train import code_of, train
    from unrolled.windowset import open_windows

    windows = windows_for(config, root)
    identity = identity_of(asked_of(config, open_windows(windows).meta["digest"], code_of(config)))
    name = f"{config['task']}-{config['model']}-{config['seed']}-{identity[:10]}"
    out = root / (config["out"] or f"outputs/{name}")
    loss = train(config, windows, out, root)
    place = out.relative_to(root) if out.is_relative_to(root) else out
    kept = f"{config['training']['keep']} epoch's validation loss {loss:.5f}"
    print(f"{name}: {kept}; evaluate it with: unrolled evaluate run={place}")
    return loss
