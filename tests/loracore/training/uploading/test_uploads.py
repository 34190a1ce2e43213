"""Results reach the hub in order, held until then, tried again; a hub that fails costs a line."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from loracore.config.options import HubOptions
from loracore.training.uploading.holding import HOLDING
from loracore.training.uploading.uploads import Uploads
from tests.loracore.training.uploading.hub import FakeHub

REPOSITORY = "me/mine"
HIDDEN = "hf_secret"


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    return FakeHub(tmp_path / "hub")


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "a.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def uploads(hub: FakeHub, **options: Any) -> Uploads:
    given = HubOptions(huggingface_repo_id=REPOSITORY, huggingface_token=HIDDEN, **options)
    return Uploads(given, hub, waits=(0, 0))


def test_a_file_stands_in_the_root_of_a_private_repository(hub: FakeHub, result: Path) -> None:
    sending = uploads(hub)
    assert (sending.check(), sending.send(result, wait=False)) == (None, [])
    assert hub.made == [{"repo_id": REPOSITORY, "repo_type": "model", "private": True, "exist_ok": True}]
    assert (hub.folder / REPOSITORY / "a.safetensors").read_bytes() == b"weights"
    assert sending.finish() == ["uploaded to me/mine: 1 of 1 results"]


def test_a_state_and_a_file_stand_in_the_folder_that_is_asked_for(hub: FakeHub, result: Path) -> None:
    sending = uploads(hub, huggingface_path_in_repo="/some/where/", huggingface_repo_visibility="public")
    sending.check()
    sending.send(result.parent, wait=True)
    assert hub.sent == ["some/where/out/a.safetensors"]
    assert hub.made[0]["private"] is False


def test_a_repository_may_be_of_another_kind(hub: FakeHub, result: Path) -> None:
    hub.kind = "dataset"
    sending = uploads(hub, huggingface_repo_type="dataset")
    assert (sending.check(), sending.send(result, wait=True)) == (None, [])
    assert hub.made[0]["repo_type"] == "dataset"
    assert hub.sent == ["a.safetensors"]


def test_a_file_that_is_deleted_meanwhile_is_uploaded_all_the_same(hub: FakeHub, result: Path) -> None:
    hub.gate = Event()
    sending = uploads(hub, async_upload=True)
    sending.send(result, wait=False)
    result.unlink()
    result.with_name("b.safetensors").write_bytes(b"more")
    sending.send(result.with_name("b.safetensors"), wait=False)
    assert hub.sent == []
    hub.gate.set()
    assert sending.finish() == ["uploaded to me/mine: 2 of 2 results"]
    assert hub.sent == ["a.safetensors", "b.safetensors"]
    assert (hub.folder / REPOSITORY / "a.safetensors").read_bytes() == b"weights"
    assert not (result.parent / HOLDING).exists()


def test_the_last_one_is_waited_for_and_comes_last(hub: FakeHub, result: Path) -> None:
    sending = uploads(hub, async_upload=True)
    last = result.with_name("last.safetensors")
    last.write_bytes(b"last")
    for path, wait in ((result, False), (last, True)):
        sending.send(path, wait=wait)
    assert hub.sent == ["a.safetensors", "last.safetensors"]


def test_a_failure_is_tried_again(hub: FakeHub, result: Path) -> None:
    hub.failures = 2
    assert uploads(hub).send(result, wait=True) == []
    assert hub.sent == ["a.safetensors"]


@pytest.mark.parametrize("wait", [True, False])
def test_what_fails_for_good_is_a_line_without_the_token(hub: FakeHub, result: Path, *, wait: bool) -> None:
    hub.failures = 3
    sending = uploads(hub, async_upload=True)
    lines = [*sending.send(result, wait=wait), *sending.finish()]
    assert lines == [
        f"{result} is not uploaded: no route to the hub with (hidden)",
        "uploaded to me/mine: 0 of 1 results",
    ]
    assert result.exists()
    assert not (result.parent / HOLDING).exists()


def test_offline_is_said_and_not_tried_again(hub: FakeHub, result: Path) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    hub.failures, hub.error = 2, OfflineModeIsEnabled("no")
    sending = uploads(hub)
    assert sending.check() == "HF_HUB_OFFLINE is set, so that the hub is not asked"
    assert "HF_HUB_OFFLINE is set" in sending.send(result, wait=True)[0]
    assert hub.failures == 0


def test_the_real_hub_says_that_it_is_offline(result: Path) -> None:
    sending = Uploads(HubOptions(huggingface_repo_id=REPOSITORY))  # tests run with HF_HUB_OFFLINE, or without a network
    assert sending.check() is not None
    assert result.exists()


def test_without_a_repository_nothing_is_wanted() -> None:
    assert (Uploads(HubOptions()).wanted, Uploads(HubOptions()).finish()) == (False, [])
