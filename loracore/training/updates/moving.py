"""What moves a network: its optimizer, the course of the rates, and the way from gradients to steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from loracore.config.config import Config
from loracore.config.options import ModelOptions, TrainingOptions
from loracore.config.updates.optimizer_arguments import finds_own_rates
from loracore.errors import ConfigError
from loracore.networks.network import Network
from loracore.networks.rates import ParameterGroup, parameter_groups
from loracore.training.processes import Processes
from loracore.training.steps.ema import Ema, moving_average
from loracore.training.updates.adafactor import RelativeSteps
from loracore.training.updates.flat_adam import FlatAdam
from loracore.training.updates.fused_updates import FusedUpdates
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.loss_scale import LossScale
from loracore.training.updates.optimizers import build_optimizer
from loracore.training.updates.schedule_free import is_schedule_free
from loracore.training.updates.schedules import ClassSchedule, Schedule, build_schedule
from loracore.training.updates.whole_updates import Updates


@dataclass(frozen=True, eq=False, slots=True)
class Moving:
    """What moves the network."""

    optimizer: Optimizer
    schedule: Schedule | ClassSchedule | RelativeSteps
    updates: Updates | FusedUpdates
    ema: Ema | None

    @contextmanager
    def weights_to_read(self) -> Iterator[None]:
        """Have the adapters hold what is saved, shown and validated, as long as this lasts: their moving average."""
        average = nullcontext() if self.ema is None else self.ema.in_place()
        with self.updates.weights_to_read(), average:
            yield


def moving(network: Network, config: Config, processes: Processes, steps: int) -> Moving:
    """Return what moves the parameters that a run of so many steps trains; the others ask for no gradients then."""
    training = config[TrainingOptions]
    groups = parameter_groups(network, config)
    optimizer = build_optimizer(groups, training)
    parameters = [parameter for group in groups for parameter in group.parameters]
    _leave_alone(network, parameters)
    schedule = _schedule(optimizer, training, steps)
    updates = _updates(optimizer, parameters, config, processes)
    return Moving(optimizer, schedule, updates, moving_average(network, training))


def try_moving(training: TrainingOptions) -> None:
    """Make the optimizer and the course for a parameter of no importance; raises ConfigError when that cannot be done.

    A length that epochs decide is not known yet: what depends on it is said by ``moving``.
    """
    parameter = nn.Parameter(torch.zeros(8, 8))
    optimizer = build_optimizer([ParameterGroup("trial", training.learning_rate, (parameter,))], training)
    if training.use_ema and is_schedule_free(optimizer):  # of a class whose name does not say so
        message = f"{type(optimizer).__name__} keeps an average of the weights already, which is what is saved"
        raise ConfigError(message, where="--use_ema", fix="drop use_ema, or choose another optimizer")
    if training.max_train_epochs is None:
        _schedule(optimizer, training, training.max_train_steps)


def trained_dtype(model: ModelOptions) -> torch.dtype:
    """Return the dtype of adapters, their gradients and the optimizer's state."""
    if model.full_fp16:
        return torch.float16
    return torch.bfloat16 if model.full_bf16 else torch.float32


def check_fused(training: TrainingOptions, processes: Processes) -> None:
    """Raise ConfigError for a fused backward pass in several processes."""
    if training.fused_backward_pass and processes.count > 1:
        message = (
            "fused_backward_pass works in one process only: a gradient is gone before it could be added to those of "
            "others, and a process without a sample of a batch has none to give"
        )
        fix = "train with one process, or drop fused_backward_pass"
        raise ConfigError(message, where="--fused_backward_pass", fix=fix)


def _schedule(optimizer: Optimizer, training: TrainingOptions, steps: int) -> Schedule | ClassSchedule | RelativeSteps:
    return RelativeSteps(optimizer) if finds_own_rates(training) else build_schedule(optimizer, training, steps)


def _updates(
    optimizer: Optimizer, parameters: Sequence[nn.Parameter], config: Config, processes: Processes
) -> Updates | FusedUpdates:
    training = config[TrainingOptions]
    if training.fused_backward_pass:
        return FusedUpdates(optimizer, training.max_grad_norm, processes.device)
    scale = LossScale(processes.device) if config[ModelOptions].mixed_precision == "fp16" else None
    flat = FlatAdam(optimizer) if FlatAdam.fits(optimizer) else None
    return Updates(optimizer, Gradients(parameters, processes, training.max_grad_norm, scale), flat)


def _leave_alone(network: Network, trained: Sequence[nn.Parameter]) -> None:
    """Ask for no gradients of adapters that the optimizer does not move: nobody would ever clear them."""
    moved = {id(parameter) for parameter in trained}
    for parameter in network.modules.parameters():
        parameter.requires_grad_(id(parameter) in moved)
