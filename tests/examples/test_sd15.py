"""The example architecture: short, and, built as a wheel, it passes its own tests, which train it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "loracore-sd15"
MOST_LINES = 400


def run(folder: Path, *words: str | Path) -> str:
    """Return what a Python program says, which must end well; it finds packages in ``folder``/site too."""
    path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "PIP_CONFIG_FILE": os.devnull, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=folder / "own", env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_short() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] == "loracore_sd15"]
    assert 0 < sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= MOST_LINES


@pytest.mark.timeout(1800)  # it builds a wheel and trains a dozen times: two minutes, ten on a crowded machine
def test_the_wheel_passes_its_own_tests(tmp_path: Path) -> None:
    tree = shutil.copytree(SOURCE, tmp_path / "tree", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    own = tmp_path / "own"  # its tests, without the source beside them
    shutil.copytree(SOURCE / "tests", own / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE / "pyproject.toml", own)
    quiet = ("--quiet", "--no-index", "--no-deps", "--no-input", "--disable-pip-version-check")
    run(tmp_path, "pip", "wheel", *quiet, "--no-build-isolation", "--wheel-dir", tmp_path, tree)
    (wheel,) = tmp_path.glob("*.whl")
    run(tmp_path, "pip", "install", *quiet, "--target", tmp_path / "site", wheel)
    assert list((tmp_path / "site").glob("*.dist-info/licenses/LICENSE"))
    said = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "temporary")
    assert "passed" in said
