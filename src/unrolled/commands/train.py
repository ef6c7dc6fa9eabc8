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
        flags = [argument for argument in overrides if argument.startswith("-")]
        if flags:
            raise UserError(f"unknown option {flags[0]!r}; valid: -m, --multirun, --help, and key=value overrides")
        several = len(overrides) < len(arguments)
        runs = expand_sweep(overrides) if several else [overrides]
        for config in [compose_config(run, root) for run in runs]:
            check(config, root)
        if several:
            sweep(overrides, root, lambda run: train_one(compose_config(run, root), root))
        else:
            train_one(compose_config(overrides, root), root)


def check(config: Config, root: Path) -> None:
    """Refuse before anything runs what the model or the Trainer would refuse.

    Raises:
        UserError: the sizes, names or the machine do not fit.
    """
    from unrolled.model import build
    from unrolled.oneoff import windows_for
    from unrolled.training import make_trainer
    from unrolled.windowset import open_windows

    build(config, open_windows(windows_for(config, root)).meta)
    make_trainer(config, [])


def train_one(config: Config, root: Path) -> float:
    """Train one run and return its validation loss, which a sweeper may minimise."""
    from unrolled.oneoff import windows_for
    from unrolled.train import identity_of, train
    from unrolled.windowset import open_windows

    windows = windows_for(config, root)
    identity = identity_of(config, open_windows(windows).meta["digest"])
    name = f"{config['task']}-{config['model']}-{config['seed']}-{identity[:10]}"
    out = root / (config["out"] or f"outputs/{name}")
    loss = train(config, windows, out, root)
    print(f"{name}: best validation loss {loss:.5f}; evaluate it with: unrolled evaluate run={out.relative_to(root)}")
    return loss
