"""The fixtures as a stranger's tests get them: pytest in a process of its own, in a folder without our conftest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loracore.testing.installing import install_metadata

Pytest = Callable[..., "subprocess.CompletedProcess[str]"]

#: Processes that import torch take their time on a busy machine.
pytestmark = pytest.mark.timeout(300)

MODULE = "loracore.testing.pytest_plugin"

A_STRANGERS_TESTS = '''
from pathlib import Path

import pytest
from loracore.errors import PluginError
from loracore.plugins import find_plugin

DOUBLING = """
from loracore import hookimpl

LORACORE_API = 1

@hookimpl(wrapper=True)
def loss_weighting():
    return 2 * (yield)
"""


class Heard:
    steps = 0

    from loracore import hookimpl

    @hookimpl
    def step_done(self, step):
        self.steps = step


def test_home(loracore_home):
    assert Path.home() == loracore_home


def test_the_home_of_tests_that_do_not_ask_is_theirs(tmp_path_factory):
    assert Path.home() != tmp_path_factory.getbasetemp() / "home"


def test_an_extension_trains(loracore_install, loracore_train):
    loracore_install("loracore-doubling", "extension", "doubling", DOUBLING, version="0.2")
    assert find_plugin("extension", "doubling").origin == "loracore-doubling 0.2"
    heard = Heard()
    path = loracore_train("--extensions", "doubling", "--max_train_steps", "2", plugin=heard)
    assert path.name == "toy.safetensors"
    assert heard.steps == 2


def test_what_a_test_installs_is_gone_after_it():
    with pytest.raises(PluginError):
        find_plugin("extension", "doubling")


def test_a_process_has_the_toys_and_what_is_installed(loracore_toys, loracore_install, loracore_cli):
    loracore_install("loracore-two", "extension", "one", DOUBLING)
    loracore_install("loracore-two", "extension", "two", DOUBLING)
    done = loracore_cli("plugins", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"toy", "one", "two"} <= {line.split()[0] for line in done.stdout.splitlines()}


def test_pictures(loracore_pictures):
    assert len(list(loracore_pictures.glob("*.png"))) == len(list(loracore_pictures.glob("*.txt"))) == 6
'''

WITHOUT_FIXTURES = """
import sys
from pathlib import Path

def test_nothing_is_done_for_a_test_that_does_not_ask():
    assert Path.home() == Path({home!r})
    assert not {{"torch", "PIL", "loracore.cli", "loracore.training"}} & set(sys.modules)
"""


@pytest.fixture
def strangers(tmp_path: Path, loracore_site: Path, monkeypatch: pytest.MonkeyPatch) -> Pytest:
    """Give a function that runs pytest on the files of a folder, where the entry point is installed."""
    install_metadata(loracore_site, "loracore-again", "1.0", {"pytest11": {MODULE: MODULE}})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "stranger"
    folder.mkdir()

    def run(*words: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *words]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder, check=False)

    return run


def test_a_strangers_tests_have_all_fixtures(strangers: Pytest) -> None:
    done = strangers(test_it=A_STRANGERS_TESTS)
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_a_plugin_that_is_named_as_well_is_loaded_once(strangers: Pytest, own_home: Path) -> None:
    words, conftest = ("-p", MODULE), f"pytest_plugins = ({MODULE!r},)"
    done = strangers(*words, test_it=WITHOUT_FIXTURES.format(home=str(own_home)), conftest=conftest)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_plugin_that_is_only_named_is_loaded(strangers: Pytest, loracore_site: Path, own_home: Path) -> None:
    (loracore_site / "loracore_again-1.0.dist-info" / "entry_points.txt").unlink()
    test = "def test_it(loracore_pictures): assert loracore_pictures.is_dir()"
    done = strangers("-p", MODULE, test_it=test)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_fixture_is_shown_with_what_it_gives(strangers: Pytest) -> None:
    shown = strangers("--fixtures", "-v").stdout
    ours = [line for line in shown.splitlines() if line.startswith("loracore_")]
    names = ("home", "site", "toys", "install", "pictures", "cli", "config", "train")
    assert {line.partition(" ")[0] for line in ours} == {f"loracore_{name}" for name in names}
    assert "Give a folder of six small pictures" in shown
