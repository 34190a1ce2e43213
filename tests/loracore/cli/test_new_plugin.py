"""A new plugin's package, built into a wheel, keeps the contract and trains its toy as it was written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file

from loracore.plugins import GROUPS
from loracore.scaffolding.kinds import KINDS
from tests.loracore.cli.conftest import Answer, Call

#: The names of the packages, by kind; one call of pip installs all of them.
NAMES: Mapping[str, str] = MappingProxyType({"architecture": "blot", "network": "blotnet", "extension": "blotting"})
#: Processes that import torch take their time on a busy machine; the first test builds the wheels, too.
PATIENCE = pytest.mark.timeout(600)
SHORT = ("train", "toy.toml", "--max_train_steps", "3")

#: A seed's base model trains alike from a file; what is no base model is refused. One process is cheaper than four.
BASES = """\
import sys
from loracore.cli.main import run
from loracore_blot.models import MODULES, TOY, weights
from safetensors.torch import save_file

tensors = {f"{part}.{name}": tensor for part in MODULES for name, tensor in weights(part, TOY).items()}
save_file(tensors, "base.safetensors")
train, base = ("train", "toy.toml", "--max_train_steps", "2", "--output_name"), "--pretrained_model_name_or_path"
codes = run([*train, "toys"]), run([*train, "files", base, "base.safetensors"])
sys.exit(1 if any(codes) else run([*train, "foreign", base, "out/toys.safetensors"]))
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as `loracore new-plugin` wrote it, and the folder that its wheel is installed into."""

    folder: Path
    site: Path
    printed: str

    def run(self, *words: str, inside: bool = True) -> Answer:
        """Run python with these words in the package's folder, or in the one above it, the wheels installed."""
        path = os.pathsep.join([str(self.site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command, folder = [sys.executable, "-m", *words], self.folder if inside else self.folder.parent
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", cwd=folder, env=env, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Package]:
    """Write all packages and install them without index, dependencies and anybody's configuration."""
    folder = tmp_path_factory.mktemp("packages")
    site = folder / "site"
    found = {
        kind: Package(folder / f"loracore-{name}", site, written(name, kind, folder)) for kind, name in NAMES.items()
    }
    switches = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    trees = [str(one.folder) for one in found.values()]
    command = [sys.executable, "-m", "pip", "install", *switches, "--target", str(site), *trees]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr
    return found


def written(name: str, kind: str, folder: Path) -> str:
    """Write a package and return what is printed."""
    command = [sys.executable, "-m", "loracore", "new-plugin", name, "--kind", kind, "--into", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_kind_is_tried() -> None:
    assert set(NAMES) == set(GROUPS)


@PATIENCE
@pytest.mark.parametrize("kind", NAMES)
def test_its_own_tests_pass_wherever_they_are_called_from(packages: Mapping[str, Package], kind: str) -> None:
    package = packages[kind]
    done = package.run("pytest", "-q", "-W", "error", "-p", "no:cacheprovider", package.folder.name, inside=False)
    assert done.code == 0, done.out
    assert "1 passed" in done.out


@PATIENCE
@pytest.mark.parametrize("kind", NAMES)
def test_its_toy_trains_by_the_command_that_is_printed(packages: Mapping[str, Package], kind: str) -> None:
    program = KINDS[kind].program  # type: ignore[index]  # the keys of GROUPS are kinds
    assert f"{program} train toy.toml" in packages[kind].printed.splitlines()[4]
    idle = ("--blotting_strength", "0") if kind == "extension" else ()
    done = packages[kind].run(program.removeprefix("python -m "), *SHORT, *idle)
    assert done.code == 0, done.err
    assert ("blotting_strength is 0: blotting changes nothing" in done.err) == bool(idle)
    path = packages[kind].folder / done.out.strip()
    assert path.name == f"{NAMES[kind]}-toy.safetensors"
    ups = [tensor for name, tensor in load_file(path).items() if "up" in name]
    assert ups
    assert all(bool(up.isfinite().all()) and bool(up.any()) for up in ups)


@PATIENCE
def test_an_architectures_base_model_can_be_a_file(packages: Mapping[str, Package]) -> None:
    blot = packages["architecture"]
    (blot.folder / "bases.py").write_text(BASES, "utf-8")
    done = blot.run("bases")
    assert done.code == 2, done.err
    assert "this is no blot model" in done.err
    toys, files = (load_file(blot.folder / "out" / f"{name}.safetensors") for name in ("toys", "files"))
    assert all(torch.equal(tensor, files[name]) for name, tensor in toys.items())


@PATIENCE
def test_its_options_are_checked(packages: Mapping[str, Package]) -> None:
    train = (*SHORT, "--overwrite")
    refused = packages["architecture"].run("loracore", *train, "--allow_pickle", "--blot_caption_dropout", "0.5")
    assert refused.err == "error: --allow_pickle: a blot model is a .safetensors file, never a pickle (leave it out)\n"
    refused = packages["network"].run("loracore.testing", *train, "--network_dropout", "0.1")
    assert "blotnet has no dropout" in refused.err


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
