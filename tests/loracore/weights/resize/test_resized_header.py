"""The header of a resized file tells its ranks now; all else stays."""

from __future__ import annotations

import json

from loracore.weights.resize.new_ranks import Dynamic, NewRanks
from loracore.weights.resize.resized_header import resized_header

FIXED, DYNAMIC = NewRanks(8, 4, None), NewRanks(8, 4, Dynamic("sv_fro", 0.9))
OLD = {
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_network_args": json.dumps({"conv_dim": "16", "conv_alpha": "1", "block_dims": "1,2", "rank_dropout": "0.1"}),
    "ss_steps": "7",
    "ss_training_comment": "my cat",
    "sshs_model_hash": "00",
    "modelspec.title": "cat",
}


def test_ranks_are_those_of_most_modules() -> None:
    found = resized_header(OLD, (8, 4.0), (4, 0.25), FIXED)
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("8", "4")
    assert json.loads(found["ss_network_args"]) == {"rank_dropout": "0.1", "conv_dim": "4", "conv_alpha": "0.25"}


def test_ranks_by_a_rule_are_called_dynamic() -> None:
    found = resized_header(OLD, (8, 4.0), (4, 0.25), DYNAMIC)
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("Dynamic", "Dynamic")
    assert json.loads(found["ss_network_args"])["conv_dim"] == "Dynamic"
    assert found["ss_training_comment"] == "dimension is resized from 32 to sv_fro 0.9, at most 8; my cat"


def test_all_else_stays_but_old_hashes() -> None:
    found = resized_header(OLD, (8, 4.0), None, FIXED)
    assert (found["ss_steps"], found["modelspec.title"]) == ("7", "cat")
    assert "sshs_model_hash" not in found
    assert "conv_dim" not in json.loads(found["ss_network_args"])


def test_an_empty_header_tells_the_ranks() -> None:
    found = resized_header({}, (8, 4.0), None, FIXED)
    assert found["ss_training_comment"] == "dimension is resized from unknown to 8"
    assert "ss_network_args" not in found


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    assert resized_header({"ss_network_args": "conv_dim=4"}, None, None, FIXED)["ss_network_args"] == "conv_dim=4"
