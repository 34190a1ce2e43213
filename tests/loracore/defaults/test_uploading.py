"""A run uploads what it saves, and loses nothing to a hub that does not answer."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from loracore import ConfigError
from loracore.cli.request import read_request
from tests.loracore.training.uploading.hub import FakeHub
from tests.toy_runs import TrainToy

UPLOAD = ("--huggingface_repo_id", "me/mine", "--huggingface_token", "hf_secret")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A hub in the place of the real one."""
    fake = FakeHub(tmp_path / "hub")

    def client(token: str | None) -> FakeHub:
        assert token == UPLOAD[-1]
        return fake

    monkeypatch.setattr(huggingface_hub, "HfApi", client)
    return fake


@pytest.mark.parametrize("way", [(), ("--async_upload",)])
def test_every_saved_file_is_uploaded(hub: FakeHub, train_toy: TrainToy, way: tuple[str, ...]) -> None:
    path = train_toy(*UPLOAD, *way, "--save_every_n_steps", "4")
    assert hub.sent == ["toy-step00000004.safetensors", "toy.safetensors"]
    assert (hub.folder / "me/mine/toy.safetensors").read_bytes() == path.read_bytes()
    assert not [each for each in path.parent.rglob("*") if each.is_file() and b"hf_secret" in each.read_bytes()]


def test_states_are_uploaded_when_asked_to(hub: FakeHub, train_toy: TrainToy) -> None:
    train_toy(*UPLOAD, "--save_state_on_train_end", "--save_state_to_huggingface", "--output_name", "with")
    assert any(name.startswith("with-state/") for name in hub.sent)
    hub.sent.clear()
    train_toy(*UPLOAD, "--save_state_on_train_end", "--output_name", "without")
    assert hub.sent == ["without.safetensors"]


def test_a_run_survives_a_hub_that_does_not_answer(
    hub: FakeHub, train_toy: TrainToy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.failures = 1_000
    path = train_toy(*UPLOAD)
    assert path.is_file()
    said = capfd.readouterr().err
    assert "results cannot be uploaded now" in said
    assert f"{path} is not uploaded: no route" in said
    assert "uploaded to me/mine: 0 of 1 results" in said
    assert "hf_secret" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--huggingface_repo_id", "mine"), "'mine' is no repository on the hub (write OWNER/NAME)"),
        (("--resume_from_huggingface",), "resume_from_huggingface needs the place of a state"),
        (("--resume_from_huggingface", "--resume", "me/mine"), "--resume: resume_from_huggingface needs the place"),
    ],
)
def test_what_is_no_place_on_the_hub_is_an_early_error(toy_config: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_request([str(toy_config), *words])
    assert said in str(caught.value)


def test_options_without_a_repository_are_without_effect_and_secrets_have_a_better_place(toy_config: Path) -> None:
    uploads = ("--async_upload", "--huggingface_repo_type", "space", "--huggingface_token", "hf_secret")
    notes = read_request([str(toy_config), *uploads, "--ddp_static_graph", "--xformers"]).notes
    places = {note.partition(":")[0] for note in notes}
    expected = {"--xformers", "--ddp_static_graph", "--huggingface_token", "--async_upload", "--huggingface_repo_type"}
    assert places == expected
    assert not any("hf_secret" in note for note in notes)


def test_a_token_is_said_to_be_used_only_where_it_is(toy_config: Path) -> None:
    def said(*words: str) -> list[str]:
        notes = read_request([str(toy_config), "--huggingface_token", "hf_secret", *words]).notes
        return [note for note in notes if note.startswith("--huggingface_token")]

    (idle,) = said()
    assert "without effect" in idle
    (used,) = said("--huggingface_repo_id", "me/mine")
    assert "is used" in used
