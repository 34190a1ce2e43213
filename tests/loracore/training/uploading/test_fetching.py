"""A state on the hub is fetched whole, by the name that the field gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.config import Config
from loracore.config.hub_places import HubPlace, hub_place
from loracore.config.options import HubOptions, StateOptions
from loracore.errors import LoracoreError
from loracore.training.uploading.fetching import fetched_state
from tests.loracore.training.uploading.hub import FakeHub


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    for name in (
        "runs/a-step00000002-state/x.json",
        "runs/a-step00000002-state/deep/y.bin",
        "runs/b-state/x.json",
        "runs2/x",
    ):
        path = tmp_path / "hub" / "me" / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return FakeHub(tmp_path / "hub")


def config(resume: str) -> Config:
    return Config([HubOptions(resume_from_huggingface=True), StateOptions(resume=resume)], {"resume": "--resume"})


@pytest.mark.parametrize(
    "path", ["runs/a-step00000002-state", "runs/a-step", "runs/a-step00000002-state/:main", "runs/a:main:model"]
)
def test_every_file_of_the_state_is_fetched(hub: FakeHub, path: str) -> None:
    folder = fetched_state(config(f"me/mine/{path}"), hub)
    assert folder == hub.folder / "me" / "mine" / "runs" / "a-step00000002-state"
    assert hub.sent == ["runs/a-step00000002-state/deep/y.bin", "runs/a-step00000002-state/x.json"]


@pytest.mark.parametrize(
    ("resume", "said"),
    [
        ("me/mine/nothing", "has no state at 'nothing'"),
        ("me/mine/run", "it may be runs, runs2"),
        ("me/mine", "is no place on the hub"),
        ("me/mine/runs:main:wardrobe", "is no place on the hub"),
    ],
)
def test_a_place_without_a_state_is_an_error(hub: FakeHub, resume: str, said: str) -> None:
    with pytest.raises(LoracoreError, match="--resume: ") as caught:
        fetched_state(config(resume), hub)
    assert said in str(caught.value)


def test_a_hub_that_does_not_answer_is_an_error(hub: FakeHub) -> None:
    hub.failures = 1
    with pytest.raises(LoracoreError, match="cannot be fetched from the hub: no route"):
        fetched_state(config("me/mine/runs/a"), hub)


def test_a_place_has_revision_and_type() -> None:
    assert hub_place("a/b/c/d:v1:dataset") == HubPlace("a/b", "c/d", "v1", "dataset")
    assert hub_place("a/b/c") == HubPlace("a/b", "c")
