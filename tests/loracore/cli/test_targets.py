"""``loracore targets`` needs no model, and with ``--json`` its stdout holds JSON alone."""

from __future__ import annotations

import json

import pytest

from tests.loracore.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("toy_site")

TOY = ("--arch", "toy", "--network_train_unet_only")


def test_notes_go_to_stderr_beside_json(loracore: Call) -> None:
    answer = loracore("targets", *TOY, "--json", "--text_encoder_lr", "1")
    rows = json.loads(answer.out)
    assert all(row["part"] == "unet" for row in rows)
    assert answer.err.startswith("note: --text_encoder_lr: without effect")


def test_a_model_is_not_needed(loracore: Call) -> None:
    answer = loracore("targets", *TOY)
    assert (answer.code, answer.err) == (0, "")
    assert "rank 4" in answer.out


def test_a_model_that_is_given_must_be_there(loracore: Call) -> None:
    answer = loracore("targets", *TOY, "--pretrained_model_name_or_path", "/no/model")
    assert (answer.code, "does not exist" in answer.err) == (2, True)


def test_an_architecture_that_needs_a_model_says_so(loracore: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from loracore import ConfigError
    from loracore.testing import toy_models

    def refuse(*_: object) -> None:
        raise ConfigError("no base model is given", where="--pretrained_model_name_or_path")

    monkeypatch.setattr(toy_models, "build", refuse)
    answer = loracore("targets", *TOY)
    assert (answer.code, answer.errors) == (2, ["--pretrained_model_name_or_path: no base model is given"])


def test_the_rate_of_up_factors_stands_beside_that_of_the_others(loracore: Call) -> None:
    words = ("--learning_rate", "1e-4", "--network_args", "loraplus_lr_ratio=4")
    answer = loracore("targets", *TOY, *words)
    assert "lr 0.0001 (up 0.0004)" in answer.out
    rows = json.loads(loracore("targets", *TOY, *words, "--json").out)
    assert {(row["lr"], row["up_lr"]) for row in rows} == {(1e-4, 4e-4)}


def test_a_rate_of_0_is_shown_as_not_trained(loracore: Call) -> None:
    answer = loracore("targets", *TOY, "--unet_lr", "0")
    assert "alpha 1 not trained  unet" in answer.out
    assert " lr " not in answer.out


def test_blocks_that_are_left_out_are_not_shown(loracore: Call) -> None:
    answer = loracore("targets", *TOY, "--network_args", "block_dims=0,3")
    assert ("rank 3" in answer.out, "blocks.1" in answer.out, "blocks.0" in answer.out) == (True, True, False)


def test_numbers_that_do_not_fit_the_blocks_are_refused(loracore: Call) -> None:
    answer = loracore("targets", *TOY, "--network_args", "block_dims=1", "up_lr_weight=1,1")
    assert answer.code == 2
    assert [line.partition(" (")[0] for line in answer.errors] == [
        "--network_args: block_dims has length 1, but this model has 2 blocks",
        "--network_args: up_lr_weight: this architecture has no up blocks",
    ]


def test_ranks_that_a_weight_cannot_have_are_noted(loracore: Call) -> None:
    assert "note: 2 of 2 modules have a rank above" in loracore("targets", *TOY, "--network_dim", "99").err
