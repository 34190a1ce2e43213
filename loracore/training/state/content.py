"""What a state holds: taken from a run between two steps, and given back to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from loracore.config.config import Config
from loracore.config.options import PluginOptions
from loracore.errors import LoracoreError
from loracore.networks.network import Network
from loracore.plugins import installed_plugins
from loracore.training.metadata import Session
from loracore.training.updates.optimizer_state import load_optimizer_state, optimizer_state

#: What every state holds.
CONTENT = frozenset(
    {
        *("step", "epoch", "seed", "session_id", "started", "steps_per_epoch"),
        *("config", "data", "network", "optimizer", "parts"),
    }
)


class Stateful(Protocol):
    """A part of a run that changes with its steps."""

    def state(self) -> Any:
        """Return what it goes on from, as plain values and tensors."""

    def load(self, state: Any) -> None:
        """Go on from a ``state``."""


@dataclass(frozen=True, eq=False, slots=True)
class Resumable:
    """What of a run a state holds."""

    config: Config
    seed: int
    session: Session
    identity: Mapping[str, Any]  # of data and models
    steps_per_epoch: int
    network: Network
    optimizer: Optimizer
    parts: Mapping[str, Stateful]  # what changes with the steps beside these two, by name


def state_content(run: Resumable, step: int, epoch: int) -> dict[str, Any]:
    """Return everything that a run goes on from behind a step, its tensors copied to host memory.

    No random generator is among it: everything random is drawn from (seed, epoch, position) or (seed, step).
    """
    return {
        "step": step,
        "epoch": epoch,
        "seed": run.seed,
        "session_id": run.session.identity,
        "started": run.session.started,
        "steps_per_epoch": run.steps_per_epoch,
        "config": run.config.shown(),
        "data": dict(run.identity),
        "network": on_host(network_state(run.network)),
        "optimizer": optimizer_state(run.optimizer),  # copies already
        "parts": on_host({name: part.state() for name, part in run.parts.items()}),
    }


def restore(run: Resumable, content: Mapping[str, Any]) -> None:
    """Bring a run that has not begun to where a state's run was.

    Raises LoracoreError when network or optimizer are not those of the state.
    """
    if content["steps_per_epoch"] != run.steps_per_epoch:
        message = f"an epoch of the state has {content['steps_per_epoch']} steps, this run's {run.steps_per_epoch}"
        fix = "pictures that could not be read may have been left out: resume with the same data set"
        raise LoracoreError(message, where="--resume", fix=fix)
    load_network(run.network, content["network"])
    load_optimizer_state(run.optimizer, content["optimizer"])
    saved = content["parts"]
    if set(run.parts) != set(saved):
        raise other_version(", ".join(sorted(set(run.parts) ^ set(saved))), "--resume")
    for name, part in run.parts.items():
        try:
            part.load(saved[name])
        except KeyError as error:
            raise other_version(f"{error.args[0]} of {name}", "--resume") from error


def other_version(differing: str, where: str) -> LoracoreError:
    """Return the error of a state that does not hold what this version writes, or holds more."""
    message = f"another version wrote this state: it differs from this one's in {differing}"
    return LoracoreError(message, where=where, fix="resume it with that version, or start anew with --network_weights")


def network_state(network: Network) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of every adapter as they are, by the target's key."""
    return {entry.target.key: dict(entry.adapter.state_dict()) for entry in network.entries}


def load_network(network: Network, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Give adapters their tensors back, in place; raises LoracoreError when they are not the same ones."""
    own = {entry.target.key: entry.adapter for entry in network.entries}
    strange = sorted(set(own) ^ set(saved))
    misfits = [key for key in own if key in saved and not _same_shapes(own[key].state_dict(), saved[key])]
    if strange or misfits:
        message = f"the state is of another network: {len(strange)} modules have no counterpart"
        if misfits:
            message = f"the state is of another network: {len(misfits)} modules have other shapes"
        example = (misfits or strange)[0]
        fix = "resume with the options and the base model that it was saved with"
        raise LoracoreError(f"{message}, for example {example}", where="--resume", fix=fix)
    for key, adapter in own.items():
        adapter.load_state_dict(dict(saved[key]))


def on_host(tree: Any) -> Any:
    """Return a tree whose tensors are copies in host memory that share none."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {name: on_host(one) for name, one in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(on_host(one) for one in tree)
    return tree


def package_versions(config: Config) -> dict[str, str]:
    """Return the versions of what decides how a step is computed: this package, torch, the chosen plugins'."""
    plugins = config[PluginOptions]
    chosen = {("architecture", plugins.arch), ("network", plugins.network_module)}
    packages = {
        plugin.package: plugin.version for plugin in installed_plugins() if (plugin.kind, plugin.name) in chosen
    }
    return {"loracore": version("loracore"), "torch": str(torch.__version__), **packages}


def _same_shapes(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> bool:
    return {name: (one.shape, one.dtype) for name, one in own.items()} == {
        name: (one.shape, one.dtype) for name, one in saved.items()
    }
