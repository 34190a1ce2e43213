"""Which class an ``optimizer_type`` means, and what it is missing; nothing of it is imported here, nor is torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from loracore.config.options import TrainingOptions
from loracore.config.updates.class_origins import distribution_of, is_installed
from loracore.config.updates.optimizer_names import (
    NAMED,
    REFUSED,
    TORCH_OPTIMIZERS,
    named_optimizer,
    optimizer_name,
    package_of,
)
from loracore.errors import ConfigError, did_you_mean
from loracore.plugins import find_optimizer, installed_optimizers

WHERE = "--optimizer_type"
#: Arguments of optimizers that the run gives.
OURS = frozenset({"params", "lr"})


@dataclass(frozen=True, slots=True)
class OptimizerChoice:
    """The class that trains a run."""

    name: str  # the field's, an entry point's, or the class path
    module: str
    kind: str
    origin: str  # distribution and version


def choose_optimizer(training: TrainingOptions) -> OptimizerChoice:
    """Return the class that these options name: of the field's table, of a package's entry point, or by its path.

    Raises ConfigError for unknown names, with the nearest; for packages that are not installed, with what to install;
    and for modules that no installed package brings.
    """
    name = optimizer_name(training)
    named = named_optimizer(name)
    if named is not None:
        return _choice(name, named.module, named.kind)
    if name.lower().startswith("dadapt") and "." not in name:
        raise _unknown(name)
    offered = find_optimizer(name)
    if offered is not None:
        module, _, kind = offered.module.partition(":")
        return _choice(name, module, kind)
    if name in REFUSED:
        message = f"{name} cannot train adapters: {REFUSED[name]}"
        raise ConfigError(message, where=WHERE, fix="choose another optimizer")
    if name in TORCH_OPTIMIZERS:
        return _choice(name, "torch.optim", name)
    module, dot, kind = name.rpartition(".")
    if not dot or not all(part.isidentifier() for part in name.split(".")):
        raise _unknown(name)
    return _choice(name, module, kind)


def optimizer_origin(training: TrainingOptions) -> str:
    """Return where the optimizer's class comes from: ``prodigyopt.Prodigy of prodigyopt 1.1.2``."""
    choice = choose_optimizer(training)
    return f"{choice.module}.{choice.kind} of {choice.origin}"


def missing_package(module: str) -> ConfigError:
    """Return the error of a module whose package is not installed."""
    top = module.partition(".")[0]
    extra = package_of(top).extra
    fix = f'pip install "loracore[{extra}]"' if extra else f"pip install {top.replace('_', '-')}"
    return ConfigError(f"the optimizer needs the package {top}, which is not installed", where=WHERE, fix=fix)


def _choice(name: str, module: str, kind: str) -> OptimizerChoice:
    if not is_installed(module):
        raise missing_package(module)
    own = module == "torch.optim"  # imported long before, and looking through all that is installed takes its time
    origin = f"torch {version('torch')}" if own else distribution_of(module, "optimizer_type")
    return OptimizerChoice(name, module, kind, origin)


def _unknown(name: str) -> ConfigError:
    names = [*(one.name for one in NAMED), *TORCH_OPTIMIZERS, *(one.name for one in installed_optimizers())]
    spelled = {one.lower(): one for one in names}
    near = did_you_mean(name.lower(), spelled)
    for low, proper in spelled.items():
        near = near.replace(f"'{low}'", f"'{proper}'")
    fix = near or "see docs/optimizers.md, or give the path of a class of an installed package"
    return ConfigError(f"no optimizer is called '{name}'", where=WHERE, fix=fix)
