"""Put a Lightning Trainer together for one cell, run it, and keep what is worth keeping."""

import logging
import os
import platform
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.exceptions import SIGTERMException

from unrolled.config import Config
from unrolled.datamodule import WindowData
from unrolled.epochloop import EpochLoop
from unrolled.errors import UserError
from unrolled.learners.supervised import EpochRow, SupervisedLearner
from unrolled.model import SequenceModel
from unrolled.precision import ConvertOnce
from unrolled.progress import TimedProgressBar
from unrolled.resume import CHECKPOINT, SaveAndStop, WholeCheckpoints, checkpoint_to_resume
from unrolled.windowset import WindowSet

# Trainer arguments that are ours to give: each has another home in the configuration or is an object, not a value.
OURS = {
    "callbacks": "the callbacks are part of the code",
    "logger": "runs are logged by the MLflow mirror",
    "plugins": "objects cannot be configured",
    "enable_checkpointing": "a run always keeps an epoch; training.keep says which",
    "enable_model_summary": "use `unrolled describe`",
    "gradient_clip_val": "set training.gradient_clip",
    "use_distributed_sampler": "it would tear text streams apart",
    "enable_autolog_hparams": "the configuration is logged whole",
    "model_registry": "models are logged by the MLflow mirror",
    "profiler": "use `python -m cProfile -m unrolled.train ...`",
    "fast_dev_run": "use trainer=smoke",
    "barebones": "it would keep no weights",
    "check_val_every_n_epoch": "the best epoch is chosen among all",
    "val_check_interval": "validation comes after each epoch, where text streams end",
    "overfit_batches": "use trainer.limit_train_batches",
}

# Those whose release can change what a training ends at.
BIT_PACKAGES = ("torch", "pytorch-lightning", "numpy", "safetensors", "hydra-core", "omegaconf")
CORES = os.cpu_count() or 1
STOPPED = 128 + signal.SIGTERM  # exit code of a process that SIGTERM ended
# What Lightning takes without a word, to train without end or to start a process for each of many devices.
_TRAINER_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_epochs": (lambda value: type(value) is int and value >= 1, "a whole number, at least 1"),
    "max_steps": (
        lambda value: type(value) is int and (value == -1 or value >= 1),
        "a whole number, at least 1, or -1",
    ),
    "devices": (
        lambda value: value == "auto" or not (type(value) is int and not 1 <= value <= max(CORES, 8)),
        f"auto or a whole number from 1 to {max(CORES, 8)}",
    ),
    "accumulate_grad_batches": (lambda value: type(value) is int and value >= 1, "a whole number, at least 1"),
    "deterministic": (lambda value: value in (True, False, "warn"), "true, false or warn"),
    "limit_val_batches": (
        lambda value: (type(value) is int and value >= 1) or (type(value) is float and 0 < value <= 1),
        "a whole number of batches, at least 1, or a share above 0",
    ),
    "num_nodes": (lambda value: type(value) is int and value >= 1, "a whole number, at least 1"),
}


@dataclass
class Learned:
    """What a training leaves behind beside the weights, which are in the model.

    Attributes:
        history: a row per epoch.
        curve: loss and gradient norm of each optimizer step.
        resumed_at: the step from which this process went on, 0 if it began.
        best: the row of the epoch whose weights are kept, which ``training.keep`` chose.
    """

    history: list[EpochRow]
    curve: list[tuple[float, float]]
    resumed_at: int
    steps: int
    best: EpochRow
    started: datetime
    seconds: float
    device: str
    precision: str


def prepare_machine(threads: int, seed: int) -> None:
    """Fix what decides bits outside the model: the thread count, cuBLAS's workspace, the seed of the first weights.

    Raises:
        UserError: ``threads`` is not a whole number above 0.
    """
    if type(threads) is not int or threads < 1:
        raise UserError(f"trainer.threads={threads!r}: expected a whole number, at least 1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    # Batches are slices of tensors in memory: worker processes would only add copies.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # In 16-mixed the scaler passes over a first step that overflows, and torch's check takes that for the wrong order.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step\\(\\).*")
    # Lightning 2.6 on torch 2.13; nothing that a user could do about it.
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    # Our samplers skip what a resumed epoch has had already; Lightning only knows loaders that do so themselves.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")


def make_trainer(config: Config, callbacks: list[Callback]) -> pl.Trainer:
    """Return the Trainer that ``config`` asks for.

    Raises:
        UserError: an unknown or reserved argument, an impossible value, or an accelerator or precision that this
            machine lacks.
    """
    import inspect

    if "threads" not in config["trainer"]:
        raise UserError("trainer.threads is missing; give it a whole number, at least 1: bits change with it")
    options = {key: value for key, value in config["trainer"].items() if key != "threads"}
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"} - set(OURS)
    for key in options:
        if key in OURS:
            raise UserError(f"trainer.{key} cannot be set: {OURS[key]}")
        if key not in known:
            raise UserError(f"unknown key in trainer: {key!r}; valid: {', '.join(sorted(known | {'threads'}))}")
    for key, (valid, expected) in _TRAINER_RULES.items():
        if key in options and not valid(options[key]):
            raise UserError(f"trainer.{key}={options[key]!r}: expected {expected}")
    usable = sorted(name for name in AcceleratorRegistry if AcceleratorRegistry[name]["accelerator"].is_available())
    accelerator = options.get("accelerator", "auto")
    if accelerator not in ("auto", *usable) and not (accelerator == "gpu" and {"cuda", "mps"} & set(usable)):
        raise UserError(f"trainer.accelerator={accelerator!r}: this machine has {', '.join(usable)}; or use auto")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and usable == ["cpu"])
    if on_cpu and str(options.get("precision")).startswith("16"):
        raise UserError(
            f"trainer.precision={options['precision']!r} needs a GPU; on this CPU use 32-true or bf16-mixed"
        )
    # Lightning's tips and its list of devices; what it warns of still shows.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    options["precision"] = _precision(config["training"]["precision"], options.get("precision", "32-true"), on_cpu)
    defaults = {"max_epochs": config["training"]["epochs"], "default_root_dir": os.devnull}
    try:
        trainer = pl.Trainer(
            **(defaults | options),
            callbacks=callbacks,
            plugins=WholeCheckpoints(),
            logger=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            gradient_clip_val=config["training"]["gradient_clip"],
            use_distributed_sampler=False,
            num_sanity_val_steps=options.get("num_sanity_val_steps", 0),
        )
    except (MisconfigurationException, ImportError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"the Trainer refuses {options}: {' '.join(str(error).split())}") from error
    _check_precision(trainer, str(options.get("precision", "32-true")))
    lightnings = trainer.precision_plugin
    if type(lightnings) is MixedPrecision and lightnings.scaler is None:
        trainer.strategy.precision_plugin = ConvertOnce("bf16-mixed", lightnings.device)
    # With max_steps, Lightning takes any epoch that a checkpoint knows for unfinished; ours count epochs all the same.
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop = EpochLoop(trainer, trainer.fit_loop.min_steps, trainer.fit_loop.max_steps)
    return trainer


def _precision(wanted: str | None, trainer: Any, on_cpu: bool) -> Any:
    """Return the precision: the trainer's, unless that is plain and the recipe wants bfloat16 on a machine that has it."""
    if wanted is None or str(trainer) not in ("32-true", "32"):
        return trainer
    if on_cpu:
        return "bf16-mixed" if cpu_has_bf16() else trainer
    has = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has else trainer


def cpu_has_bf16() -> bool:
    """Tell whether this processor multiplies bfloat16 itself (AVX-512 BF16, AMX, Arm's BF16); emulation would be slow."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _check_precision(trainer: pl.Trainer, asked: str) -> None:
    on_cuda = trainer.strategy.root_device.type == "cuda"
    if on_cuda and asked.startswith("bf16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"trainer.precision={asked!r}: {torch.cuda.get_device_name()} has no bfloat16; use 32-true")


def assemble(
    config: Config,
    windows: WindowSet,
    model: SequenceModel,
    resume: Path,
    on_epoch: Callable[[EpochRow], None] | None = None,
) -> tuple[pl.Trainer, SupervisedLearner, WindowData]:
    """Return trainer, learner and data of one cell.

    Args:
        config: the whole configuration.
        windows: the data.
        model: as ``build`` made it.
        resume: folder for the checkpoint, named by the run's identity.
        on_epoch: called with each epoch's losses.

    Raises:
        UserError: see ``make_trainer``.
    """
    training = config["training"]
    parts: list[Callback] = []
    if training["augmentation"] and (windows.meta["kind"] != "examples" or windows.meta["in_features"] < 2):
        raise UserError(f"training.augmentation turns images, but {config['task']} has none; set it to null")
    if config["trainer"].get("enable_progress_bar", True):
        parts.append(TimedProgressBar(f"train {config['task']}-{config['model']}-{config['seed']}"))
    if training["early_stopping"]:
        parts.append(EarlyStopping("validation_loss", patience=training["early_stopping"]))
    if training["averaging"]:
        parts.append(EMAWeightAveraging(decay=training["averaging"]))
    parts.append(SaveAndStop(resume / CHECKPOINT))
    trainer = make_trainer(config, parts)
    streams = windows.meta["kind"] == "text"
    learner = SupervisedLearner(
        model, training, seed=config["seed"], streams=streams, identity=resume.name, on_epoch=on_epoch
    )
    every_step = config["head"]["pool"] == "every"
    data = WindowData(windows, batch_size=training["batch_size"], every_step=every_step, seed=config["seed"])
    return trainer, learner, data


def fit(trainer: pl.Trainer, learner: SupervisedLearner, data: WindowData, resume: Path) -> Learned:
    """Train and leave the weights of the epoch to keep in the learner's model; goes on from what lies in ``resume``.

    Raises:
        UserError: training diverged.
        SystemExit: it was told to stop, and has saved where it stood.
    """
    last = checkpoint_to_resume(resume, learner.identity)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        trainer.fit(learner, data, ckpt_path=last, weights_only=True)
    except SIGTERMException:
        print(f"stopped after step {trainer.global_step}; the same command goes on from there", flush=True)
        raise SystemExit(STOPPED) from None
    learner.model.load_state_dict(learner.best)
    return Learned(
        history=learner.history,
        curve=learner.curve(),
        resumed_at=learner.resumed_at,
        steps=trainer.global_step,
        best=learner.kept(),
        started=started,
        seconds=time.monotonic() - clock,
        device=_device_name(trainer),
        precision=str(trainer.precision),
    )


def machine_facts(trainer: pl.Trainer) -> dict[str, Any]:
    """Return what of this machine and its packages can make the same run end at other bits: no names, times or places."""
    cuda = trainer.strategy.root_device.type == "cuda"
    libraries: dict[str, str] = {package: version(package) for package in BIT_PACKAGES}
    if cuda:
        libraries |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    return {
        "device": _device_name(trainer),
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
        "deterministic": {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        },
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "libraries": libraries,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _device_name(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
