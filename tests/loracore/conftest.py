"""Plugins that a test installs for itself: a module and its metadata in a folder of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: (distribution, kind, plugin's name, source) → installs the plugin and returns its module's name.
Install = Callable[[str, str, str, str], str]

_GROUPS = {"architecture": "architectures", "network": "networks", "extension": "extensions", "optimizer": "optimizers"}

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
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that is on the path here and in processes that the test starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield folder
    for name in [name for name, module in sys.modules.items() if str(folder) in str(vars(module).get("__file__"))]:
        del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Install:
    """Give a function that installs a plugin as a wheel would."""

    def installed(distribution: str, kind: str, name: str, source: str) -> str:
        module = f"{distribution}_{name}_module".replace("-", "_").replace(".", "_")
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        info = site / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        with (info / "entry_points.txt").open("a", encoding="utf-8") as points:
            target = f"{module}:{name}" if kind == "optimizer" else module  # the class itself
            points.write(f"[loracore.{_GROUPS[kind]}]\n{name} = {target}\n")
        importlib.invalidate_caches()
        return module

    return installed


@pytest.fixture
def toys(install: Install) -> None:
    """Install an architecture and a network that declare options and do nothing."""
    install("loracore-toy", "architecture", "toy", TOY_ARCHITECTURE)
    install("loracore-toynet", "network", "toynet", TOY_NETWORK)
