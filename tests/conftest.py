"""What many tests arrange: an installed toy architecture, pictures, and a command line in a real process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

pytest_plugins = ("tests.toy_runs",)

DATA = Path(__file__).parent / "data"

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give all tests, and the processes they start, a home of their own: what is kept between runs lies there."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        yield home


@pytest.fixture
def data() -> Path:
    """The folder of golden numbers and files."""
    return DATA


@pytest.fixture
def toy_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed metadata that names the toy architecture, in this process and those it starts."""
    site = tmp_path / "site"
    install_metadata(site, "loracore-toy", "1.0", {"loracore.architectures": {"toy": "loracore.testing.toy"}})
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    return site


def install_metadata(site: Path, name: str, version: str, groups: dict[str, dict[str, str]]) -> None:
    """Write what pip would leave of a distribution with these entry points."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {module}" for point, module in points.items()), "")
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six small captioned pictures of two shapes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = random.Random(0)  # noqa: S311  # colours, not secrets
    for number in range(6):
        size = (64, 64) if number % 2 else (96, 48)
        picture = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
        picture.paste((255, 255, 255), (10, 10, 30, 30))
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture number {number}", encoding="utf-8")
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> RunCli:
    """Run the command line in a process of its own, in an empty folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def run(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "loracore", *map(str, words)]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        return subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", cwd=folder, env=env, timeout=timeout, check=False
        )

    return run
