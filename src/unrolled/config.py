"""Compose a run's configuration with Hydra and refuse what cannot work. The only module that imports hydra."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from unrolled.errors import UserError
from unrolled.inert import check_inert
from unrolled.yamlfile import check_yaml_files

Config = dict[str, Any]
GROUPS = ("task", "model", "trainer")


def compose_config(overrides: Sequence[str], root: Path, needs: Sequence[str] = ("task", "model")) -> Config:
    """Return the composed and checked configuration as plain dicts.

    Args:
        overrides: Hydra overrides, ``task=energy model=gru encoder.hidden_size=128``.
        root: the checkout; its ``conf/`` is composed.
        needs: groups that must be chosen.

    Raises:
        UserError: an unknown group, file, key or value; the valid ones are named.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    check_yaml_files(root / "conf")
    for override in overrides:
        # Before Hydra composes: it would look into the environment for a file's name. Its own keys may have resolvers.
        check_inert(override, resolvers=override.lstrip("+~").startswith(("hydra.", "hydra/")))
        _check_group(override, root)
    asked = [_free_trainer_key(override) for override in overrides]
    chosen = {override.partition("=")[0] for override in asked}
    for group in needs:
        if group not in chosen:
            raise UserError(f"no {group} was given; add {group}=NAME, one of: {', '.join(names(root, group))}")
    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            composed = compose("config", overrides=asked, return_hydra_config=True)
            choices = composed.hydra.runtime.choices
            config = _plain(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]), choices)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:  # a key given twice is a YAMLError
        raise UserError(_explain(error, asked, root)) from error
    check_values(config)
    return config


def _plain(composed: Any, choices: Mapping[str, Any]) -> Config:
    """Return what Hydra composed as plain dicts, with the names of the chosen files.

    Raises:
        UserError: it holds more than values.
    """
    from omegaconf import OmegaConf

    check_inert(OmegaConf.to_container(composed, resolve=False))
    container = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(container, dict)
    config: Config = {str(key): value for key, value in container.items()}
    return config | {"task": choices.get("task"), "model": choices.get("model"), "trainer_file": choices.get("trainer")}


def names(root: Path, group: str) -> list[str]:
    """Return the names of a Hydra group: the stems of ``conf/<group>/*.yaml``."""
    return sorted(path.stem for path in (root / "conf" / group).glob("*.yaml"))


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return one list of overrides per run of a sweep, as ``-m`` would run them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides=[_free_trainer_key(o) for o in overrides])
    except HydraException as error:
        raise UserError(_one_line(str(error))) from error
    return [list(run) for batch in BasicSweeper.split_arguments(parsed, max_batch_size=None) for run in batch]


def origins(config: Config, overrides: Sequence[str], root: Path) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, where the value comes from) for every value of ``config``."""
    import yaml

    files = [("conf/config.yaml", ""), *((f"conf/{group}/{_choice(config, group)}.yaml", group) for group in GROUPS)]
    homes: dict[str, str] = {}
    for name, group in files:
        path = root / name
        if path.is_file():
            prefix = "trainer." if group == "trainer" else ""
            homes |= {f"{prefix}{key}": name for key, _ in _leaves(yaml.safe_load(path.read_text()) or {})}
    command_line = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for key, value in _leaves(
        {key: value for key, value in config.items() if key not in (*GROUPS[:2], "trainer_file")}
    ):
        home = "command line" if key in command_line else homes.get(key, "its default")
        yield key, value, home


def _choice(config: Config, group: str) -> str | None:
    choice: str | None = config["trainer_file" if group == "trainer" else group]
    return choice


def _leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(section, dict):
        for key, value in section.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, section


def _free_trainer_key(override: str) -> str:
    """Let ``trainer.max_steps=5`` name a Trainer argument that no conf file mentions; train checks the name."""
    return f"++{override}" if override.startswith("trainer.") else override


def _check_group(override: str, root: Path) -> None:
    """Refuse a file that is not among ``conf/<group>``, whatever section it is to go into: ``trainer@encoder=../x``."""
    key, equals, value = override.partition("=")
    group = key.lstrip("+").partition("@")[0]
    if equals and group in GROUPS and value not in names(root, group):
        raise UserError(_unknown(f"unknown {group}", value, names(root, group)))


def _unknown(what: str, value: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, valid, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{what} {value!r}; valid: {', '.join(valid)}{hint}"


def _unknown_key(section: str, key: str, valid: Sequence[str]) -> str:
    return _unknown(f"unknown key in {section or 'the configuration'}:", key, valid)


def _explain(error: Exception, overrides: Sequence[str], root: Path) -> str:
    """Put Hydra's error into one line, with the valid keys beside an unknown one."""
    text = str(error)
    match = re.search(r"Could not override '([^']+)'", text)
    if not match:
        return _one_line(text)
    from hydra import compose, initialize_config_dir
    from omegaconf import DictConfig

    groups = [override for override in overrides if override.partition("=")[0] in GROUPS]
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        node: Any = compose("config", overrides=groups)
    *parents, key = match[1].split(".")
    for name in parents:
        if not isinstance(node, DictConfig) or name not in node:
            return _unknown("unknown section", name, sorted(map(str, node)))
        node = node[name]
    if not isinstance(node, DictConfig):
        return f"{'.'.join(parents)} is a single value, so {match[1]!r} names nothing in it"
    return _unknown_key(".".join(parents), key, sorted(map(str, node)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


Rule = tuple[Callable[[Any], bool], str]


def _whole(low: int) -> Rule:
    return lambda value: type(value) is int and value >= low, f"a whole number, at least {low}"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _whole_numbers(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(item) is int and item >= 0 for item in value)


def _or_null(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


def _one_of(*values: str) -> Rule:
    return lambda value: value in values, f"one of {', '.join(values)}"


def _levels(value: Any) -> bool:
    """Tell whether ``value`` is a list of levels of quantiles."""
    if not isinstance(value, list) or not all(_number(level) and 0 < level < 1 for level in value):
        return False
    return 0.5 in value and all(low < high for low, high in pairwise(value))


_POSITIVE: Rule = (lambda value: _number(value) and value > 0, "a number above 0")
_NOT_NEGATIVE: Rule = (lambda value: _number(value) and value >= 0, "a number, at least 0")
_NAMES: Rule = (
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "a list of names",
)
_ARIMA: Rule = (
    lambda value: (
        isinstance(value, dict)
        and set(value) == {"order", "seasonal"}
        and _whole_numbers(value["order"], 3)
        and (value["seasonal"] is None or (_whole_numbers(value["seasonal"], 4) and value["seasonal"][3] >= 2))
    ),
    "order: [p, d, q] and seasonal: [P, D, Q, period], whole numbers, the period at least 2, or seasonal: null",
)
_FRACTION: Rule = (lambda value: _number(value) and 0 <= value < 1, "a number, at least 0 and below 1")
_AUGMENTATION: Rule = (
    lambda value: (
        isinstance(value, dict)
        and set(value) == {"rotate", "scale", "shear", "shift"}
        and all(_number(size) and size >= 0 for size in value.values())
        and value["scale"] < 1
    ),
    "rotate (degrees), scale (a share below 1), shear (degrees) and shift (pixels), numbers, at least 0",
)

RULES: dict[str, dict[str, Rule]] = {
    "window": {
        "context": _whole(1),
        "horizon": _whole(1),
        "transform": _or_null(_one_of("level", "log_return", "min_max")),
    },
    "head": {
        "name": _one_of("forecast", "classify", "language"),
        "pool": _one_of("last", "every", "mean_max"),
        "loss": _one_of("l1", "mse", "huber", "cross_entropy"),
        "skip": _whole(0),
        "label_smoothing": _FRACTION,
        "quantiles": _or_null(
            (_levels, "increasing levels above 0 and below 1, 0.5 among them, as in [0.05,0.5,0.95]")
        ),
    },
    "training": {
        "batch_size": _whole(1),
        "epochs": _whole(1),
        "learning_rate": _POSITIVE,
        "weight_decay": _NOT_NEGATIVE,
        "beta2": _FRACTION,
        "schedule": _one_of("constant", "cosine", "one_cycle"),
        "warmup_steps": _whole(0),
        "gradient_clip": _or_null(_POSITIVE),
        "early_stopping": _or_null(_whole(1)),
        "averaging": _or_null(_FRACTION),
        "keep": _one_of("best", "last"),
        "precision": _or_null(_one_of("bf16")),
        "augmentation": _or_null(_AUGMENTATION),
    },
    "judge": {
        "season": _or_null(_whole(1)),
        "arima": _or_null(_ARIMA),
        "breakdowns": _or_null(_NAMES),
        "equal_parameters": _or_null(_NAMES),
        "ablation": _or_null(_NAMES),
    },
}


SECTIONS = ("split", "window", "encoder", "head", "training", "judge", "trainer")
_EXAMPLES = {
    "encoder": "encoder.hidden_size=64",
    "split": "split.test=2016-01-01",
    "trainer": "trainer.accelerator=cpu",
}


def check_values(config: Config) -> None:
    """Refuse a section with a missing, unknown or impossible value; the encoder checks its own when it is built.

    Raises:
        UserError: names the key, the value, and what was expected.
    """
    keys = (*SECTIONS, "seed", "out")
    for key in set(config) - {*keys, "task", "model", "trainer_file"}:
        raise UserError(_unknown_key("", key, sorted(keys)))
    for key in keys:
        if key not in config:
            home = "config" if key in ("seed", "out", "trainer") else f"task/{config['task']}"
            raise UserError(f"{key} is missing; it belongs into conf/{home}.yaml")
    if config["out"] is not None and not isinstance(config["out"], str):
        raise UserError(f"out={config['out']!r}: expected a folder, such as out=outputs/wide")
    if type(config["seed"]) is not int or not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed={config['seed']!r}: expected a whole number, at least 0 and below 2^32")
    for section in ("encoder", "split", "trainer"):
        if not isinstance(config[section], dict):
            raise UserError(
                f"{section}={config[section]!r}: expected keys, such as {_EXAMPLES[section]}; to choose one of "
                "the files of conf/, write model=NAME, task=NAME or trainer=NAME"
            )
    for section, rules in RULES.items():
        values = config[section]
        if not isinstance(values, dict):
            raise UserError(f"{section}={values!r}: expected the keys {', '.join(sorted(rules))}")
        for key in values:
            if key not in rules:
                raise UserError(_unknown_key(section, str(key), sorted(rules)))
        for key, (valid, expected) in rules.items():
            if key not in values:
                raise UserError(f"{section}.{key} is missing from conf/task/{config['task']}.yaml: give it {expected}")
            if not valid(values[key]):
                raise UserError(f"{section}.{key}={values[key]!r}: expected {expected}")


def sweep(overrides: Sequence[str], root: Path, job: Callable[[Config], float]) -> None:
    """Let Hydra's sweeper and launcher run ``job`` with the configuration of every combination.

    Raises:
        UserError: a combination failed; the others have run, and to the sweeper its loss was infinite.
    """
    import sys

    import hydra
    from hydra.core.hydra_config import HydraConfig

    check_yaml_files(root / "conf")
    failed: list[UserError] = []

    # Hydra is at work while a job runs and composes nothing else then, so the job takes what it composed.
    @hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")
    def run(composed: Any) -> float:
        config = _plain(composed, HydraConfig.get().runtime.choices)
        try:
            check_values(config)
            return job(config)
        except UserError as error:
            failed.append(error)
            return math.inf

    sys.argv[1:] = ["--multirun", *(_free_trainer_key(override) for override in overrides)]
    run()
    if failed:
        raise UserError(f"{len(failed)} of the sweep's runs failed; the first: {failed[0]}") from failed[0]
