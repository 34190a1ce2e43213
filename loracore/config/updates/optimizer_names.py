"""The optimizers that go by a name of the field: where their classes are, and which package brings them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from loracore.config.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class NamedOptimizer:
    """An optimizer that has a name of its own."""

    name: str
    module: str  # imported only when it is chosen
    kind: str  # the class in it

    @property
    def package(self) -> str:
        """The distribution that brings it; empty: one that loracore needs anyway."""
        return self.module.partition(".")[0].replace("_", "-") if package_of(self.module).extra else ""


def _of(module: str, *names: str) -> tuple[NamedOptimizer, ...]:
    return tuple(NamedOptimizer(name, module, name) for name in names)


NAMED: tuple[NamedOptimizer, ...] = (
    NamedOptimizer("AdamW", "torch.optim", "AdamW"),
    *_of("bitsandbytes.optim", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit"),
    *_of("lion_pytorch", "Lion"),
    *_of("bitsandbytes.optim", "Lion8bit", "PagedLion8bit"),
    NamedOptimizer("SGDNesterov", "torch.optim", "SGD"),
    NamedOptimizer("SGDNesterov8bit", "bitsandbytes.optim", "SGD8bit"),
    NamedOptimizer("DAdaptation", "dadaptation.experimental", "DAdaptAdamPreprint"),
    *_of("dadaptation.experimental", "DAdaptAdamPreprint", "DAdaptAdanIP"),
    *_of("dadaptation", "DAdaptAdaGrad", "DAdaptAdam", "DAdaptAdan"),
    *_of("dadaptation", "DAdaptLion", "DAdaptSGD"),
    *_of("prodigyopt", "Prodigy"),
    NamedOptimizer("Adafactor", "transformers.optimization", "Adafactor"),
    *_of("schedulefree", "AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"),
)


@dataclass(frozen=True, slots=True)
class OptimizerPackage:
    """What is known of all optimizers of a package, those that have no name included."""

    extra: str = ""  # pip install loracore[extra]; empty: loracore needs it anyway
    adapts: bool = False  # finds the size of its steps itself: learning_rate is a factor on it, best 1
    waits: bool = False  # makes the host wait in every step: for kernels, or to read sums from the device


#: Packages by the name that is imported.
PACKAGES: Mapping[str, OptimizerPackage] = MappingProxyType(
    {
        "bitsandbytes": OptimizerPackage(waits=True),
        "lion_pytorch": OptimizerPackage("lion"),
        "dadaptation": OptimizerPackage("dadaptation", adapts=True, waits=True),
        "prodigyopt": OptimizerPackage("prodigy", adapts=True, waits=True),
        "prodigyplus": OptimizerPackage("prodigy-plus", adapts=True, waits=True),
        "schedulefree": OptimizerPackage("schedulefree"),
        "pytorch_optimizer": OptimizerPackage("pytorch-optimizer"),
    }
)
_UNKNOWN = OptimizerPackage()

#: Optimizers that keep squares of gradients in the parameters' own dtype.
SQUARES = frozenset(
    {
        *("AdamW", "Adam", "NAdam", "RAdam", "Adagrad", "RMSprop", "Adadelta", "AdamWScheduleFree"),
        *("RAdamScheduleFree", "Prodigy", "DAdaptation", "DAdaptAdam", "DAdaptAdamPreprint", "DAdaptAdaGrad"),
        *("DAdaptAdan", "DAdaptAdanIP"),
    }
)

#: The classes of torch.optim, by their own names; known here without torch.
TORCH_OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam"),
    *("RMSprop", "Rprop", "SGD", "SparseAdam"),
)

#: Those of them that cannot train adapters, and why.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "LBFGS": "it computes the loss again within its step",
        "SparseAdam": "it takes sparse gradients only",
    }
)

#: What arguments are when they are not given, as in the field.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "Adafactor": MappingProxyType({"relative_step": True}),
        "SGDNesterov": MappingProxyType({"momentum": 0.9}),
        "SGDNesterov8bit": MappingProxyType({"momentum": 0.9}),
    }
)


def package_of(module: str) -> OptimizerPackage:
    """Return what is known of the package that a module or a class path is of."""
    return PACKAGES.get(module.partition(".")[0], _UNKNOWN)


def named_optimizer(name: str) -> NamedOptimizer | None:
    """Return the optimizer of this name in any case; an empty name is AdamW. None: it is no name of the field."""
    wanted = name.strip().lower() or "adamw"
    return next((one for one in NAMED if one.name.lower() == wanted), None)


def optimizer_name(training: TrainingOptions) -> str:
    """Return the name of the optimizer as the field writes it; a class path as it was given."""
    if training.use_8bit_adam:
        return "AdamW8bit"
    if training.use_lion_optimizer:
        return "Lion"
    found = named_optimizer(training.optimizer_type)
    return training.optimizer_type.strip() if found is None else found.name


def adapts(training: TrainingOptions) -> bool:
    """Tell whether the optimizer is one of D-Adaptation or Prodigy, to which learning_rate is a factor, best 1."""
    name = optimizer_name(training)
    found = named_optimizer(name)
    return package_of(name if found is None else found.module).adapts


def takes_one_rate(training: TrainingOptions) -> bool:
    """Tell whether the optimizer refuses groups of parameters with different learning rates, or heeds the first."""
    return adapts(training) and not optimizer_name(training).startswith("prodigyplus.")


def is_schedule_free(training: TrainingOptions) -> bool:
    """Tell by its name whether the optimizer needs no course of the rates; its class alone knows for certain."""
    return "schedulefree" in optimizer_name(training).rpartition(".")[2].lower()


def has_one_product(training: TrainingOptions) -> bool:
    """Tell whether d times the learning rate is one for all groups, of which the field shows the first group's."""
    return optimizer_name(training).rpartition(".")[2].lower() == "prodigyplusschedulefree"
