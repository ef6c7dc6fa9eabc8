"""Stage train: windows in; weights, resolved configuration, learning curve and meta data out."""

import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.config import Config
from unrolled.errors import UserError

if TYPE_CHECKING:
    from unrolled.model import SequenceModel
    from unrolled.training import Learned

SAVED_SECTIONS = ("task", "model", "seed", "split", "window", "encoder", "head", "training", "trainer")


def train(config: Config, windows_folder: Path, out: Path, root: Path) -> float:
    """Train one cell and write its model folder, whole or not at all; go on where an earlier attempt at the same was stopped.

    Args:
        config: composed by ``compose_config``.
        windows_folder: what the window stage wrote.
        out: the model folder to write: weights.safetensors, config.yaml, history.csv, steps.csv, facts.json, meta.json.
        root: the checkout.

    Returns:
        The validation loss of the epoch that was kept.

    Raises:
        UserError: the configuration asks for something that the data, the code or the machine lacks, or training
            diverged. What stood at ``out`` before stands there still.
        SystemExit: it was told to stop (Ctrl-C, SIGTERM); the same call goes on where it stood.
    """
    from unrolled.windowset import check_digest, open_windows

    windows = open_windows(windows_folder)
    check_digest(windows, windows_folder)
    _check_asked(config, windows.meta)

    from unrolled import model as models
    from unrolled import training
    from unrolled.identity import asked_of, identity_of
    from unrolled.outputs import check_writable, whole_folder
    from unrolled.resume import resume_folder
    from unrolled.runrecord import RunRecord
    from unrolled.sidecar import collect_facts, write_sidecar

    threads = config["trainer"]["threads"]
    training.prepare_machine(threads, config["seed"])
    model = models.build(config, windows.meta)
    asked = asked_of(config, windows.meta["digest"], code_of(config))
    identity = identity_of(asked)
    folders = root / "data" / "resume"
    trainer, learner, data = training.assemble(config, windows, model, folders / identity)
    check_writable(out.parent)
    check_writable(folders)

    from unrolled.tracking import mirror, open_run

    facts = training.machine_facts(trainer)
    shown = {key: facts[key] for key in ("device", "precision", "threads")}
    record = RunRecord(identity, config, windows.meta, collect_facts(root, datetime.now(UTC), 0.0, **shown))
    with resume_folder(folders, identity, asked, str(out)) as resume:
        with open_run(root, record) as live:
            learner.on_epoch = lambda row: live.log_epoch(row["epoch"], _measured(row))
            learned = training.fit(trainer, learner, data, resume)
        if trainer.is_global_zero:
            with whole_folder(out) as folder:
                facts |= {"code": asked["code"], "lock": lock_digest(root)}
                write_model_folder(folder, config, windows.meta, identity, model, learned, facts)
            write_sidecar(root, identity, collect_facts(root, learned.started, learned.seconds, **shown))
            mirror(root, out)
    return learned.best["validation_loss"]


def code_of(config: Config) -> str:
    """Return the digest of the code that trains the model that ``config`` asks for, as it is imported now."""
    import unrolled
    from unrolled.identity import code_digest
    from unrolled.imports import MIRROR_MODULES, import_closure

    src = Path(unrolled.__file__).parents[1]
    modules = ("unrolled.train", f"unrolled.encoders.{config['encoder']['name']}")
    files = set().union(*(import_closure(module, src, without=MIRROR_MODULES) for module in modules))
    return code_digest(files, src)


def _measured(row: Any) -> dict[str, float]:
    return {key: value for key, value in row.items() if key not in ("epoch", "step")}


def _check_asked(config: Config, meta: dict[str, Any]) -> None:
    """The windows on disk must be the ones that ``config`` describes."""
    for section, asked in meta["asked"].items():
        for key, value in config[section].items():
            if asked.get(key) != value:
                raise UserError(
                    f"{section}.{key}={value!r}, but the windows of {meta['task']} were made with {asked.get(key)!r}; "
                    f"make them anew with: dvc repro window@{meta['task']}"
                )


def lock_digest(root: Path) -> str | None:
    """Return the sha256 (hex) of the lock file of a checkout, None if it has none."""
    lock = root / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def write_model_folder(
    folder: Path,
    config: Config,
    meta: dict[str, Any],
    identity: str,
    model: "SequenceModel",
    learned: "Learned",
    facts: dict[str, Any],
) -> None:
    """Write all files of a model folder; the same run on the same machine gives the same bytes.

    Args:
        folder: an empty folder.
        config: the whole configuration.
        meta: the windows'.
        identity: the run's.
        model: with the weights to keep.
        learned: what ``fit`` returned; meta.json's ``best_epoch`` and ``best_validation_loss`` are of the epoch that was kept,
            the last one's with ``training.keep=last``.
        facts: of the machine, the code and the packages: what can make the same run end at other bits elsewhere.
    """
    import yaml

    from unrolled.model import count_parameters, save

    save(model, folder)
    saved = {section: config[section] for section in SAVED_SECTIONS}
    (folder / "config.yaml").write_text(yaml.safe_dump(saved, sort_keys=False), encoding="utf-8")
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(learned.best), lineterminator="\n")
        writer.writeheader()
        writer.writerows(learned.history)
    write_steps(folder / "steps.csv", learned.curve)
    _write_json(folder / "facts.json", facts)
    about = {
        "identity": identity,
        "task": config["task"],
        "model": config["model"],
        "seed": config["seed"],
        "data_digest": meta["digest"],
        "data_source": meta["source"],
        "parameters": count_parameters(model),
        "epochs": len(learned.history),
        "steps": learned.steps,
        "best_epoch": learned.best["epoch"],
        "best_validation_loss": learned.best["validation_loss"],
        "windows": meta,
    }
    _write_json(folder / "meta.json", about)


def write_steps(path: Path, curve: Sequence[tuple[float, float]]) -> None:
    """Write the learning curve step by step, each number with all of its digits.

    Args:
        path: the csv file.
        curve: per optimizer step, from the first on, the training loss and the gradient's norm before clipping.
    """
    rows = (f"{step},{loss!r},{norm!r}\n" for step, (loss, norm) in enumerate(curve, start=1))
    path.write_text("step,loss,gradient_norm\n" + "".join(rows), encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.train task=energy model=gru seed=0 out=data/models/energy-gru-0``."""
    from unrolled.checkout import project_root
    from unrolled.config import compose_config
    from unrolled.console import one_line_errors

    with one_line_errors():
        root = project_root()
        config = compose_config(sys.argv[1:] if arguments is None else arguments, root)
        if config["out"] is None:
            raise UserError("no out was given; add out=FOLDER, or use `unrolled train`, which names one under outputs/")
        out = root / config["out"]
        if out.exists() and not (out / "meta.json").is_file():
            raise UserError(
                f"out={config['out']}: {out} is there and no model folder, so it is not replaced; name another"
            )
        train(config, root / "data" / "windows" / config["task"], out, root)


if __name__ == "__main__":
    main()
