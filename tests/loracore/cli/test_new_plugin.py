"""A new plugin's package, built into a wheel, keeps the contract and trains its toy as it was written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore.plugins import GROUPS
from loracore.scaffolding.kinds import KINDS
from tests.loracore.cli.conftest import Answer, Call

KIND = sorted(GROUPS)
#: Processes that import torch take their time on a busy machine; the first test of a kind builds its wheel, too.
PATIENCE = pytest.mark.timeout(600)

MAKE_BASE = """\
from loracore_blot.models import MODULES, TOY, weights
from safetensors.torch import save_file

tensors = {f"{part}.{name}": tensor for part in MODULES for name, tensor in weights(part, TOY).items()}
save_file(tensors, "base.safetensors")
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as `loracore new-plugin` wrote it, and the folder that its wheel is installed into."""

    folder: Path
    site: Path
    printed: str

    def run(self, *words: str) -> Answer:
        """Run python with these words in the package's folder, its wheel installed."""
        path = os.pathsep.join([str(self.site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", cwd=self.folder, env=env, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Package]:
    return {kind: package(kind, tmp_path_factory.mktemp(kind)) for kind in KIND}


def package(kind: str, folder: Path) -> Package:
    """Write a package and install it without index, dependencies and anybody's configuration."""
    command = [sys.executable, "-m", "loracore", "new-plugin", "blot", "--kind", kind, "--into", str(folder)]
    written = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert written.returncode == 0, written.stderr
    tree, site = folder / "loracore-blot", folder / "site"
    switches = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *switches, "--target", str(site), str(tree)]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr
    return Package(tree, site, written.stdout)


@PATIENCE
@pytest.mark.parametrize("kind", KIND)
def test_its_own_tests_pass(packages: Mapping[str, Package], kind: str) -> None:
    done = packages[kind].run("pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert done.code == 0, done.out
    assert "1 passed" in done.out


@PATIENCE
@pytest.mark.parametrize("kind", KIND)
def test_its_toy_trains_by_the_command_that_is_printed(packages: Mapping[str, Package], kind: str) -> None:
    command = f"{KINDS[kind].program} train toy.toml"  # type: ignore[index]  # the keys of GROUPS are kinds
    assert command in packages[kind].printed.splitlines()[4]
    done = packages[kind].run(*command.removeprefix("python -m ").split())
    assert done.code == 0, done.err
    path = packages[kind].folder / done.out.strip()
    assert path.name == "blot-toy.safetensors"
    ups = [tensor for name, tensor in load_file(path).items() if "up" in name]
    assert ups
    assert all(bool(up.isfinite().all()) and bool(up.any()) for up in ups)


@PATIENCE
def test_an_architectures_base_model_can_be_a_file(packages: Mapping[str, Package]) -> None:
    blot = packages["architecture"]
    (blot.folder / "make_base.py").write_text(MAKE_BASE, "utf-8")
    assert blot.run("make_base").code == 0
    short = ("train", "toy.toml", "--max_train_steps", "2", "--output_name")
    assert blot.run("loracore", *short, "toys").code == 0
    base = ("--pretrained_model_name_or_path", "base.safetensors")
    assert blot.run("loracore", *short, "files", *base).code == 0
    toys, files = (load_file(blot.folder / "out" / f"{name}.safetensors") for name in ("toys", "files"))
    assert all(torch.equal(tensor, files[name]) for name, tensor in toys.items())
    foreign = ("--pretrained_model_name_or_path", "out/toys.safetensors")
    done = blot.run("loracore", *short, "foreign", *foreign)
    assert done.code == 2
    assert "this is no blot model" in done.err


@PATIENCE
def test_its_options_are_checked(packages: Mapping[str, Package]) -> None:
    train = ("train", "toy.toml", "--overwrite")
    refused = packages["architecture"].run("loracore", *train, "--allow_pickle", "--blot_caption_dropout", "0.5")
    assert refused.err == "error: --allow_pickle: a blot model is a .safetensors file, never a pickle (leave it out)\n"
    refused = packages["network"].run("loracore.testing", *train, "--network_dropout", "0.1")
    assert "blot has no dropout" in refused.err
    done = packages["extension"].run("loracore.testing", *train, "--blot_strength", "0", "--max_train_steps", "1")
    assert done.code == 0
    assert "blot_strength is 0: blot changes nothing" in done.err


def test_writing_a_package_costs_no_torch(imports: Call, tmp_path: Path) -> None:
    done = imports("new-plugin", "blot", "--kind", "network", "--into", str(tmp_path))
    assert done.out.splitlines()[0] == str(tmp_path / "loracore-blot")
    assert done.out.splitlines()[-1] == ""


def test_a_taken_name_is_an_error_and_nothing_is_written(loracore: Call, toy_site: Path, tmp_path: Path) -> None:
    done = loracore("new-plugin", "toys", "--kind", "network", "--into", str(tmp_path / "new"))
    assert done.code == 2
    assert done.errors == ["a package loracore-toys (1.0) is installed already (choose another name, or uninstall it)"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [("blot",), ("blot", "--kind", "optimizer"), ("--kind", "network")])
def test_name_and_kind_are_needed(loracore: Call, words: tuple[str, ...]) -> None:
    done = loracore("new-plugin", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
