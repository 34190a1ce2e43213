from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from loracore.diffusion.files.folders import HubFolder
from loracore.diffusion.files.hub import absent_model, hub_answers, hub_file
from loracore.errors import DataError


@pytest.fixture(autouse=True)
def _asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test know what another found of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    hub_answers.cache_clear()
    yield
    hub_answers.cache_clear()


class Network:
    """A network that answers, or fails, and counts how often it was asked."""

    def __init__(self, answer: int | Exception) -> None:
        self.answer, self.asked = answer, 0

    def head(self, *_: object, **__: object) -> Any:  # huggingface_hub's session is of the test's making
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(status_code=self.answer)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | Exception], Network]:
    """Put a network of one's own under the hub's client."""

    def connected(answer: int | Exception) -> Network:
        made = Network(answer)
        monkeypatch.setattr("huggingface_hub.get_session", lambda: made)
        return made

    return connected


@pytest.mark.parametrize(("answer", "answers"), [(200, True), (404, True), (503, False), (TimeoutError(), False)])
def test_hub_answers_unless_it_fails_or_is_not_there(
    network: Callable[[int | Exception], Network], answer: int | Exception, answers: bool
) -> None:
    network(answer)
    assert hub_answers() == answers


def test_hub_that_is_not_there_is_asked_once_for_all_files(network: Callable[[int | Exception], Network]) -> None:
    silent = network(ConnectionError("no route"))
    assert [hub_file("owner/one", "a.json"), hub_file("owner/two", "b.json"), hub_file("owner/two", "c")] == [None] * 3
    assert silent.asked == 1


def test_cached_file_needs_no_hub(tmp_path: Path, network: Callable[[int | Exception], Network]) -> None:
    network(ConnectionError())
    model = tmp_path / "hub" / "models--owner--name"
    (model / "snapshots" / "abc").mkdir(parents=True)
    (model / "snapshots" / "abc" / "config.json").write_text("{}", encoding="utf-8")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc", encoding="utf-8")
    found = HubFolder("owner/name").find("config.json")
    assert found is not None
    assert found.read_text(encoding="utf-8") == "{}"


def test_offline_mode_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not hub_answers()
    assert hub_file("owner/name", "unet/config.json") is None


def test_connection_that_breaks_is_an_error_without_a_word_of_every_attempt(
    network: Callable[[int | Exception], Network], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> str:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        message = "gone"
        raise LocalEntryNotFoundError(message)

    network(200)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(DataError, match=r"unet/config\.json of the model owner/name cannot be fetched"):
        hub_file("owner/name", "unet/config.json")
    assert caplog.messages == []


def test_what_the_http_library_raises_is_told_as_such(
    network: Callable[[int | Exception], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        message = "read timed out"
        raise RuntimeError(message)

    network(200)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(DataError, match="read timed out"):
        hub_file("owner/name", "a")


@pytest.mark.parametrize(
    ("answer", "told"), [(200, r"there is no folder owner/name, .* has no unet"), (503, "the hub cannot be reached")]
)
def test_absent_model_is_told_with_the_reason(
    network: Callable[[int | Exception], Network], answer: int, told: str
) -> None:
    network(answer)
    with pytest.raises(DataError, match=told):
        raise absent_model("owner/name", "unet/config.json")


def test_path_that_looks_like_an_id_is_told_by_its_folder(
    tmp_path: Path, network: Callable[[int | Exception], Network]
) -> None:
    network(503)
    (tmp_path / "models").mkdir()
    assert "the folder models holds no mine" in str(absent_model("models/mine", "unet/config.json"))
