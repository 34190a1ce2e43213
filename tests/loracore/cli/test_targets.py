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
