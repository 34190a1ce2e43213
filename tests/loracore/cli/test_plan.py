"""``loracore plan`` needs neither model nor pictures, and with ``--json`` its stdout holds JSON alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loracore.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("toy_site")

TOY = ("--arch", "toy", "--network_train_unet_only", "--resolution", "64")


def test_phases_and_cards_are_shown_without_model_and_pictures(loracore: Call) -> None:
    answer = loracore("plan", *TOY, "--train_batch_size", "3")
    assert answer.code == 0
    assert "batch        3 x 64x64\n" in answer.out
    assert "captions" in answer.out
    assert "   8 GB card  0.80 GB with everything kept" in answer.out
    assert "  80 GB card  0.80 GB with everything kept" in answer.out


def test_the_largest_bucket_of_the_pictures_is_taken(loracore: Call, pictures: Path) -> None:
    answer = loracore("plan", *TOY[:-2], "--train_data_dir", str(pictures), "--resolution", "64", "--json")
    found = json.loads(answer.out)
    assert found["batch"] == {"size": [64, 64], "samples": 1, "dataset": 0}
    assert {phase["name"] for phase in found["phases"]} == {"captions", "pictures", "steps"}
    assert all(sum(phase["parts"].values()) == phase["peak"] for phase in found["phases"])
    assert len(found["blocks"]) == 2


def test_a_budget_names_the_card(loracore: Call) -> None:
    found = json.loads(loracore("plan", *TOY, "--memory_budget", "0.1", "--json").out)
    (card,) = found["cards"]
    assert (card["budget"], card["fits"]) == (10**8, False)
    assert "even so it does not fit" in card["why"][0]
    assert found["proposals"]


def test_given_settings_are_counted(loracore: Call) -> None:
    answer = loracore("plan", *TOY, "--gradient_checkpointing")
    assert "as given     gradient_checkpointing = true: 0.80 GB" in answer.out


def test_pictures_that_are_cut_anew_in_every_visit_are_encoded_in_the_steps(loracore: Call, pictures: Path) -> None:
    words = ("--train_data_dir", str(pictures), "--resolution", "64", "--random_crop")
    found = json.loads(loracore("plan", *TOY[:-2], *words, "--json").out)
    assert [phase["name"] for phase in found["phases"]] == ["captions", "steps"]


@pytest.mark.parametrize("budget", ["inf", "1e300", "0"])
def test_a_budget_is_a_size_that_there_can_be(loracore: Call, budget: str) -> None:
    answer = loracore("plan", *TOY, "--memory_budget", budget)
    assert answer.code == 2
    assert "--memory_budget" in answer.err


def test_memory_auto_shows_the_run_that_it_makes(loracore: Call) -> None:
    known = loracore("plan", *TOY, "--memory", "auto", "--memory_budget", "0.1").out
    assert "memory auto  gradient_checkpointing = true: 0.80 GB" in known
    unknown = loracore("plan", *TOY, "--memory", "auto").out
    assert "memory auto  as the card needs it, see below; everything kept: 0.80 GB" in unknown


def test_that_fsdp_is_not_counted_is_told(loracore: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert "note: FSDP is not counted" in loracore("plan", *TOY).err


def test_previews_are_a_phase_of_their_own(loracore: Call, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a picture --w 64 --h 64\n", encoding="utf-8")
    words = ("--sample_prompts", str(prompts), "--sample_at_first", "--json")
    found = json.loads(loracore("plan", *TOY, *words).out)
    assert found["phases"][-2]["name"] == "previews"
