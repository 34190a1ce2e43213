"""Plugins that a test installs for itself: a module and its metadata in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

#: (distribution, kind, plugin's name, source) → installs the plugin and returns its module's name.
Install = Callable[..., str]

PLUGIN = """\
from dataclasses import dataclass
from typing import Annotated, Literal
from loracore import Finding, hookimpl, option

LORACORE_API = 1
"""

TOY_ARCHITECTURE = (
    PLUGIN
    + """
@dataclass(frozen=True, slots=True)
class ToyOptions:
    '''What the toy knows.'''
    toy_width: Annotated[int, option("width of the toy", ge=1, le=8, network_arg=True)] = 2
    toy_mode: Annotated[Literal["fast", "slow"], option("how the toy goes")] = "fast"
    toy_gentle: Annotated[bool, option("be gentle")] = False
    toy_kinds: Annotated[tuple[int, ...], option("ranks by kind", network_arg=True)] = ()
    toy_limit: Annotated[Literal[75, 150], option("a number of few")] = 75

@hookimpl
def options(): return (ToyOptions,)

@hookimpl
def check_options(config):
    mode = config[ToyOptions].toy_mode
    found = [] if mode == "fast" else [Finding("wrong", "toy_mode", "slow toys are broken", "go fast")]
    if config.given("toy_limit"):
        found.append(Finding("without effect", "toy_limit", "toy_limit is not looked at"))
    return found

@hookimpl
def load_models(parts): return None
@hookimpl
def encode_text(models): return None
@hookimpl
def encode_images(models): return None
@hookimpl
def lora_targets(models): return []
@hookimpl
def noise_latents(batch): return None
@hookimpl
def predict_noise(models, batch): return None
"""
)

TOY_NETWORK = (
    PLUGIN
    + """
@dataclass(frozen=True, slots=True)
class ToyNetworkOptions:
    '''What the toy network knows.'''
    toy_dropout: Annotated[float, option("dropout of the toy", ge=0, lt=1, network_arg=True)] = 0.0
    toy_conv: Annotated[bool, option("convolutions too", network_arg=True)] = False

@hookimpl
def options(): return (ToyNetworkOptions,)
@hookimpl
def build_adapter(target): return None
"""
)


@pytest.fixture
def site(loracore_site: Path) -> Path:
    return loracore_site


@pytest.fixture
def install(loracore_install: Install) -> Install:
    """Give a function that installs a plugin as a wheel of version 1.5 would."""
    return partial(loracore_install, version="1.5")


@pytest.fixture
def toys(install: Install) -> None:
    """Install an architecture and a network that declare options and do nothing."""
    install("loracore-toy", "architecture", "toy", TOY_ARCHITECTURE)
    install("loracore-toynet", "network", "toynet", TOY_NETWORK)
