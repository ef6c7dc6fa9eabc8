"""Compose a run's configuration with Hydra and refuse what cannot work. The only module that imports hydra."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unrolled.errors import UserError

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

    asked = [_free_trainer_key(override) for override in overrides]
    for override in asked:
        _check_group(override, root)
    chosen = {override.partition("=")[0] for override in asked}
    for group in needs:
        if group not in chosen:
            raise UserError(f"no {group} was given; add {group}=NAME, one of: {', '.join(names(root, group))}")
    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            composed = compose("config", overrides=asked, return_hydra_config=True)
            choices = composed.hydra.runtime.choices
            ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
            container = OmegaConf.to_container(ours, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, asked, root)) from error
    assert isinstance(container, dict)
    config: Config = {str(key): value for key, value in container.items()}
    config |= {"task": choices.get("task"), "model": choices.get("model"), "trainer_file": choices.get("trainer")}
    check_values(config)
    return config


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
    key, _, value = override.partition("=")
    if key in GROUPS and value not in names(root, key):
        raise UserError(_unknown(f"unknown {key}", value, names(root, key)))


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


def _or_null(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


def _one_of(*values: str) -> Rule:
    return lambda value: value in values, f"one of {', '.join(values)}"


_POSITIVE: Rule = (lambda value: _number(value) and value > 0, "a number above 0")
_NOT_NEGATIVE: Rule = (lambda value: _number(value) and value >= 0, "a number, at least 0")
_FRACTION: Rule = (lambda value: _number(value) and 0 <= value < 1, "a number, at least 0 and below 1")

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
    },
    "judge": {"season": _or_null(_whole(1))},
}


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
    if type(config["seed"]) is not int or not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed={config['seed']!r}: expected a whole number, at least 0 and below 2^32")
    for section in ("encoder", "split", "trainer"):
        if not isinstance(config.get(section, {}), dict):
            raise UserError(
                f"{section}={config[section]!r}: expected keys, such as {_EXAMPLES[section]}; to choose one of "
                "the files of conf/, write model=NAME, task=NAME or trainer=NAME"
            )
    for section, rules in RULES.items():
        values = config.get(section)
        if values is None:
            continue
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


def sweep(overrides: Sequence[str], root: Path, job: Callable[[list[str]], float]) -> None:
    """Let Hydra's sweeper and launcher run ``job`` with the overrides of every combination."""
    import sys

    import hydra
    from hydra.core.hydra_config import HydraConfig

    @hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")
    def run(_: Any) -> float:
        return job(list(HydraConfig.get().overrides.task))

    sys.argv[1:] = ["--multirun", *(_free_trainer_key(override) for override in overrides)]
    run()
