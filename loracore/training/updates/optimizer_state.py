"""An optimizer's whole state as plain data, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from loracore.errors import LoracoreError
from loracore.training.updates.plain_data import CPU, decoded, encoded, plain_items

#: What a group holds beside the optimizer's own values, and what our steps leave on an optimizer for one moment.
NOT_STATE = frozenset({"params", "name", "param_groups", "state", "defaults", "found_inf", "grad_scale"})


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return everything that an optimizer has learned, as nested dict, list, int, float, str, bool, None and tensors.

    Parameters are named by (group, index) and not kept themselves. Tensors are copies in host memory, in their own
    dtype, and share no memory. Plain attributes of the optimizer belong to it too (some count there); private ones do
    not. A schedule-free optimizer must be training, as it is outside of ``Updates.weights_to_read``. Raises
    LoracoreError when the optimizer holds anything else for a parameter. Floats may be infinite (growth rates are).
    """
    groups = optimizer.param_groups
    return {
        "groups": [plain_items(_own(group), _device(group)) for group in groups],
        "parameters": [_of_parameter(optimizer, *where) for where in _with_state(optimizer)],
        "shared": {name: encoded(one, CPU, name) for name, one in _shared(optimizer)},
        "attributes": plain_items(_own(vars(optimizer)), _device(groups[0])),
    }


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer over parameters of the same groups what ``optimizer_state`` returned, bit for bit.

    Unlike torch's ``load_state_dict`` it casts nothing to the parameters' dtype. Raises LoracoreError when the groups
    or the sizes of their parameters differ from the saved ones; the optimizer is as it was then.
    """
    groups = optimizer.param_groups
    if len(state["groups"]) != len(groups):
        message = f"the saved optimizer has {len(state['groups'])} groups of parameters, this run's has {len(groups)}"
        raise LoracoreError(message, fix="resume with the options of the run that saved it")
    parameters = [_parameter(optimizer, one["group"], one["index"], one["shape"]) for one in state["parameters"]]
    for group, values in zip(groups, state["groups"], strict=True):
        group.update({name: decoded(one, _device(group)) for name, one in values.items()})
    for parameter, one in zip(parameters, state["parameters"], strict=True):
        kept = {name: decoded(value, parameter.device) for name, value in one["values"].items()}
        optimizer.state[parameter] = _paged_again(optimizer, parameter, kept)
    for name, value in state["shared"].items():
        optimizer.state[name] = decoded(value)
    for name, value in state["attributes"].items():
        setattr(optimizer, name, decoded(value, _device(groups[0])))


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in values.items() if name not in NOT_STATE and not name.startswith("_")}


def _with_state(optimizer: Optimizer) -> Iterator[tuple[int, int]]:
    for number, group in enumerate(optimizer.param_groups):
        for index, parameter in enumerate(group["params"]):
            if optimizer.state.get(parameter):
                yield number, index


def _shared(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    """Give what some optimizers keep under a name in the place of a parameter."""
    keys: Iterable[Any] = optimizer.state
    yield from ((key, optimizer.state[key]) for key in keys if isinstance(key, str))  # type: ignore[index]  # as they do


def _of_parameter(optimizer: Optimizer, group: int, index: int) -> dict[str, Any]:
    parameter = optimizer.param_groups[group]["params"][index]
    values = optimizer.state[parameter]
    kept = {name: encoded(one, parameter.device, name) for name, one in values.items()}
    return {"group": group, "index": index, "shape": list(parameter.shape), "values": kept}


def _parameter(optimizer: Optimizer, group: int, index: int, shape: list[int]) -> Tensor:
    parameters = optimizer.param_groups[group]["params"]
    if index >= len(parameters) or list(parameters[index].shape) != list(shape):
        message = f"the saved optimizer's parameter {index} of group {group} has the shape {shape}; this run's has not"
        raise LoracoreError(message, fix="resume with the options of the run that saved it")
    found: Tensor = parameters[index]
    return found


def _paged_again(optimizer: Optimizer, parameter: Tensor, values: dict[str, Any]) -> dict[str, Any]:
    """Put the large states of a paged optimizer of bitsandbytes back into memory that it pages."""
    if not vars(optimizer).get("is_paged") or parameter.device.type == "cpu":
        return values
    paged: dict[str, Any] = dict(values)
    for name in {"state1", "state2"} & values.keys():
        buffer = optimizer.get_state_buffer(parameter, dtype=values[name].dtype)  # type: ignore[attr-defined]  # its own
        paged[name] = buffer.copy_(values[name])
    return paged


def _device(group: Mapping[str, Any]) -> torch.device:
    found: torch.device = group["params"][0].device
    return found
