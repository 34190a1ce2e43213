"""Fixtures for the tests of plugins: tiny pictures, toys, plugins installed for one test, runs here and in processes.

pytest finds this module where loracore is installed; its entry point has the module's own name, so that whoever names
it as well (``-p`` or ``pytest_plugins``) does not load it twice. A test that asks for none of the fixtures is left as
it is, and torch is not imported for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

from loracore.testing.installing import TOYS, install_metadata

#: Kind of a plugin → its group of entry points.
_GROUPS: Mapping[str, str] = {
    "architecture": "loracore.architectures",
    "network": "loracore.networks",
    "extension": "loracore.extensions",
    "optimizer": "loracore.optimizers",
}
#: What the command line in a process finds: one thread, no hub, room for a line of a table.
_QUIET: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


class RunCli(Protocol):
    """What ``loracore_cli`` gives."""

    def __call__(self, *words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Return what the command leaves: ``returncode``, ``stdout``, ``stderr``."""


class Install(Protocol):
    """What ``loracore_install`` gives."""

    def __call__(self, distribution: str, kind: str, name: str, source: str, version: str = "1.0") -> str:
        """Return the name of the module that the source was written into."""


class Train(Protocol):
    """What ``loracore_train`` gives."""

    def __call__(self, *words: str, plugin: object | None = None) -> Path:
        """Return the final file of a run; ``plugin`` hears and wraps its hooks."""


@pytest.fixture
def loracore_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home folder of the tests' own, the same for all that ask, in this process and in those that they start.

    What loracore keeps between runs lies there and not in yours.
    """
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    return home


@pytest.fixture
def loracore_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of installed packages that this test alone has, in this process and in those that it starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    yield folder
    loaded: dict[str, object] = dict(sys.modules)  # anybody may have put anything there
    for name, module in loaded.items():
        if isinstance(module, ModuleType) and str(vars(module).get("__file__")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def loracore_toys(loracore_site: Path) -> Path:
    """Install the toy architecture and the toy network for this test, both named "toy"; give their folder."""
    install_metadata(loracore_site, "loracore-toys", "1.0", TOYS)
    return loracore_site


@pytest.fixture
def loracore_install(loracore_site: Path) -> Install:
    """Give a function that installs a plugin for this test, as a wheel would: (distribution, kind, name, source).

    The kind is "architecture", "network", "extension" or "optimizer". Called again for a distribution, it adds to it.
    """
    brought: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def install(distribution: str, kind: str, name: str, source: str, version: str = "1.0") -> str:
        module = f"{distribution}_{name}_module".replace("-", "_").replace(".", "_")
        (loracore_site / f"{module}.py").write_text(source, encoding="utf-8")
        groups = brought.setdefault((distribution, version), {})
        groups.setdefault(_GROUPS[kind], {})[name] = f"{module}:{name}" if kind == "optimizer" else module
        install_metadata(loracore_site, distribution, version, groups)
        return module

    return install


@pytest.fixture
def loracore_pictures(tmp_path: Path) -> Path:
    """Give a folder of six small pictures of two shapes, with captions beside them (.txt)."""
    from loracore.testing.tiny_data import write_pictures

    return write_pictures(tmp_path / "pictures")


@pytest.fixture
def loracore_cli(tmp_path: Path, loracore_home: Path) -> RunCli:  # noqa: ARG001  # asked for what it does
    """Give a function that runs the command line in a process of its own, in an empty folder, and waits for it."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def run(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "loracore", *map(str, words)]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in _QUIET.items():
                patch.setenv(name, value)
            return subprocess.run(  # noqa: S603  # our own program, no shell
                command, capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=timeout, check=False
            )

    return run


@pytest.fixture
def loracore_config(loracore_toys: Path, loracore_pictures: Path, tmp_path: Path) -> Path:  # noqa: ARG001  # as above
    """Give the configuration file of a run of six steps: the toys on tiny pictures; results go to "out" beside it."""
    import tomli_w

    from loracore.testing.tiny_run import tiny_options

    path = tmp_path / "toy.toml"
    path.write_text(tomli_w.dumps(tiny_options(loracore_pictures, tmp_path / "out")), encoding="utf-8")
    return path


@pytest.fixture
def loracore_train(loracore_config: Path, loracore_home: Path) -> Train:  # noqa: ARG001  # as above
    """Give a function that trains by ``loracore_config`` and more flags, in this process, and returns the final file.

    Your architecture, network or extension comes in by its flag, your own instance of hooks as ``plugin``.
    """

    def run(*words: str, plugin: object | None = None) -> Path:
        from loracore.testing.tiny_run import train_here

        return train_here([str(loracore_config), *words], () if plugin is None else (plugin,))

    return run
