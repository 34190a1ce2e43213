"""Whether a run may go on from a state: every reason against it at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from loracore.config.config import Config
from loracore.errors import LoracoreError, Problem
from loracore.training.state.content import other_version
from loracore.training.state.fingerprint import data_differences, rule_differences
from loracore.training.state.models import comparable, model_differences

#: Where data lie, how they are batched (compared over all processes), and where a first run began: behind a step, from
#: a file, which the state takes the place of. The seed and the length have rules of their own.
_COMPARED_OTHERWISE = frozenset(
    {
        "dataset_config",
        "train_data_dir",
        "reg_data_dir",
        "in_json",
        "conditioning_data_dir",
        "train_batch_size",
        "initial_step",
        "initial_epoch",
        "skip_until_initial_step",
        "seed",
        "max_train_steps",
        "max_train_epochs",
        "network_weights",
    }
)
_LENGTHS = ("max_train_epochs", "max_train_steps")


def check_fits(content: Mapping[str, Any], config: Config, identity: Mapping[str, Any], where: str) -> list[str]:
    """Return notes on what a run resumed from a state does otherwise; ``identity`` is that of its data and models.

    Raises LoracoreError with every difference that would make it another run.
    """
    saved, data = content["config"], content["data"]
    if lacking := identity.keys() - data.keys():
        raise other_version(", ".join(sorted(lacking)), where)
    known = {name for name in data["models"] if name in identity["models"]}  # compared by what they are, not by name
    found = [
        *_options(saved, config, known),
        *_models(data["models"], identity["models"], config),
        *_seed(content, config),
        *_data(data, identity, saved, config),
    ]
    if found:
        raise LoracoreError.of(found)
    notes = [f"resumed from {where}, behind step {content['step']}"]
    notes += _moved(data["models"], identity["models"], saved, config)
    for name in _LENGTHS:
        before, now = saved.get(name), dict(config)[name]
        if before != now and (name == "max_train_epochs" or now is not None):
            notes.append(f"{name} is {_shown(now)}, the state's run had {_shown(before)}: courses follow the new one")
    return notes


def _moved(
    saved: Mapping[str, Any], own: Mapping[str, Any], options: Mapping[str, Any], config: Config
) -> Iterator[str]:
    """Give a note on every model that another text names; what it is has been compared where it can be."""
    for name in sorted(saved.keys() & own.keys()):
        before, now = options.get(name), dict(config)[name]
        if not comparable(saved[name], own[name]):
            yield f"{name} is {_shown(now)}, the state's run had {_shown(before)}: not compared, they are of two kinds"
        elif before != now:
            yield f"{name} is {_shown(now)}: the very files of the state's run, moved"


def check_step(step: int, steps: int, config: Config) -> None:
    """Raise LoracoreError for a state behind the end of the run."""
    if step > steps:
        option = "max_train_epochs" if dict(config)["max_train_epochs"] is not None else "max_train_steps"
        message = f"the state is of step {step}, and the run ends with step {steps}"
        raise LoracoreError(message, where=config.place(option), fix=f"give a larger {option}")


def _options(saved: Mapping[str, Any], config: Config, known: Collection[str]) -> Iterator[Problem]:
    fix = "give the state's value, or leave --resume out"
    for name, value in config.shaping().items():
        if name in _COMPARED_OTHERWISE or name in known:
            continue
        if name not in saved:
            if config.given(name):
                yield Problem(f"{name} = {_shown(value)}: the state's run did not have it", config.place(name), fix)
        elif saved[name] != value:
            message = f"{name} is {_shown(value)}, the state's run had {_shown(saved[name])}"
            yield Problem(message, config.place(name), fix)


def _models(saved: Mapping[str, Any], own: Mapping[str, Any], config: Config) -> Iterator[Problem]:
    fix = "resume with the model of the state, or start anew from the saved file with --network_weights"
    for name, differing in model_differences(saved, own):
        yield Problem(f"{name} = {_shown(dict(config)[name])} {differing}", config.place(name), fix)


def _seed(content: Mapping[str, Any], config: Config) -> Iterator[Problem]:
    """Give a seed that is another; one that is not given is the state's."""
    own = dict(config)["seed"]
    if own is not None and own != content["seed"]:
        message = f"seed is {own}, the state's run had {content['seed']}"
        yield Problem(message, config.place("seed"), "give the state's, or none")


def _data(
    saved: Mapping[str, Any], own: Mapping[str, Any], options: Mapping[str, Any], config: Config
) -> Iterator[Problem]:
    fix = "resume with the same data set, or start anew from the saved file with --network_weights"
    yield from (Problem(message, "--resume", fix) for message in data_differences(saved, own))
    named = {name for name, value in config.shaping().items() if options.get(name) != value}
    for path, before, now in rule_differences(saved["datasets"], own["datasets"], "datasets"):
        if path.rpartition(".")[2] not in named:  # said of the option already
            message = f"{path} is {_shown(now)}, the state's run had {_shown(before)}"
            yield Problem(message, config.place("dataset_config"), "give the state's value, or leave --resume out")


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
