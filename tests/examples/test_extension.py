"""The example extension, built as a wheel, trains with the toys: short, with an option of its own that counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore.testing.pytest_plugin import RunCli

SOURCE = Path(__file__).parents[2] / "examples" / "loracore-soft-weighting"
MOST_LINES = 60
#: It builds a wheel, and its runs are processes that import torch.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the example's wheel was installed into."""
    folder = tmp_path_factory.mktemp("example")
    tree = shutil.copytree(SOURCE, folder / "tree")  # a build writes into the tree
    switches = ("--quiet", "--no-index", "--no-deps", "--no-input", "--disable-pip-version-check")
    for words in (("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(tree)), None):
        wheels = [str(path) for path in folder.glob("*.whl")]
        command = words or ("install", "--target", str(folder / "site"), *wheels)
        env = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
        subprocess.run([sys.executable, "-m", "pip", *command, *switches], env=env, check=True)
    return folder / "site"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the wheel on the path of the processes to come."""
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)


def test_the_wheel_holds_the_licence(site: Path) -> None:
    assert list(site.glob("*.dist-info/licenses/LICENSE"))


@pytest.mark.usefixtures("installed")
def test_the_wheel_passes_its_own_tests(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE / "pyproject.toml", tmp_path)
    words = ("-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temporary"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_is_short() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (SOURCE / "loracore_soft_weighting").rglob("*.py")]
    assert sum(len(text.splitlines()) for text in texts) <= MOST_LINES


@pytest.mark.usefixtures("installed")
def test_the_example_trains_and_its_option_counts(loracore_cli: RunCli, loracore_config: Path) -> None:
    def trained(*words: str) -> torch.Tensor:
        done = loracore_cli("train", loracore_config, "--max_train_steps", "2", "--overwrite", *words)
        assert done.returncode == 0, done.stderr
        return torch.cat([one.flatten() for one in load_file(done.stdout.strip()).values()])

    plain, soft = trained(), trained("--extensions", "soft_weighting")
    noisy = trained("--extensions", "soft_weighting", "--soft_weighting_mean", "2")
    assert not torch.equal(plain, soft)
    assert not torch.equal(soft, noisy)


@pytest.mark.usefixtures("installed")
def test_hooks_show_what_the_example_wraps(loracore_cli: RunCli, loracore_config: Path) -> None:
    done = loracore_cli("plugins", "--hooks", loracore_config, "--extensions", "soft_weighting")
    assert "extension soft_weighting (loracore-soft-weighting 0.1.0), wraps  " in done.stdout


@pytest.mark.usefixtures("installed")
def test_the_example_refuses_what_would_count_twice(loracore_cli: RunCli) -> None:
    words = ("--arch", "sd3", "--extensions", "soft_weighting", "--weighting_scheme", "logit_normal")
    done = loracore_cli("plugins", "--hooks", *words)
    assert done.returncode == 2
    assert "soft_weighting weighs by the density that logit_normal draws by" in done.stderr
