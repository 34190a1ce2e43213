"""The JSON Schema accepts what the reader accepts and marks misspelt keys, at the top and in sections."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tomli
from jsonschema import Draft202012Validator

from loracore.config.dataset_keys import KEYS
from loracore.config.declared import declare
from loracore.config.json_schema import json_schema
from loracore.config.options import CORE_OPTIONS
from tests.loracore.config.tables import DECLARED

SAMPLE = """
learning_rate = 1e-4
text_encoder_lr = 1e-5
network_args = ["conv_dim=4"]
["any section"]
network_dim = 8
mixed_precision = "bf16"
gradient_checkpointing = true
[general]
flip_aug = false
[[datasets]]
resolution = [1024, 768]
batch_size = 2
[[datasets.subsets]]
image_dir = "pictures"
num_repeats = 10
"""

CORE = json_schema(declare([("core", CORE_OPTIONS)]), complete=True)


def faults(text: str, schema: Any = CORE) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(tomli.loads(text))]


def test_it_is_a_schema_of_its_draft_and_plain_json() -> None:
    Draft202012Validator.check_schema(json.loads(json.dumps(CORE)))


def test_it_accepts_a_sample_file() -> None:
    assert faults(SAMPLE) == []


@pytest.mark.parametrize(
    "text",
    [
        "network_dmi = 8",
        "[section]\nnetwork_dmi = 8",
        "[section.inner]\nnetwork_dim = 8",
        "network_dim = 0",
        "[section]\nmixed_precision = 'bf-16'",
        "gradient_checkpointing = 'yes'",
        "text_encoder_lr = ['1e-5']",
        "network_args = [4]",
        "[[datasets]]\nresolutoin = 64",
        "[[datasets]]\nresolution = 64.5",
        "[[datasets]]\nnum_repeats = 'ten'",
        "[[datasets]]\nflip_aug = 1",
        "[[datasets]]\n[[datasets.subsets]]\nbatch_size = 2",
    ],
)
def test_it_marks_what_the_reader_refuses(text: str) -> None:
    assert faults(text)


def test_lists_tell_the_type_of_their_items() -> None:
    rates = json_schema(DECLARED, complete=True)["$defs"]["rates"]
    assert rates["anyOf"] == [{"type": "array", "items": {"type": "number"}}, {"type": "number"}]


def test_every_key_of_a_data_set_is_known_at_its_level() -> None:
    dataset = CORE["properties"]["datasets"]["items"]["properties"]
    assert {"subsets", *dataset} == {"subsets", *(name for name, key in KEYS.items() if "datasets" in key.levels)}
    assert dataset["batch_size"] == {"type": "integer", "minimum": 1, "maximum": 2**20}
    assert dataset["subsets"]["items"]["properties"]["image_dir"]["type"] == "string"


def test_without_an_architecture_unknown_keys_pass_but_known_ones_are_checked() -> None:
    schema = json_schema(DECLARED, complete=False)
    assert faults("of_an_architecture = 1\n[section]\nalso = 2", schema) == []
    assert faults("rank = 0", schema)


def test_descriptions_defaults_choices_and_ranges_are_kept() -> None:
    rank, precision = (json_schema(DECLARED, complete=True)["$defs"][name] for name in ("rank", "precision"))
    assert rank == {"description": "a rank", "type": "integer", "minimum": 1, "maximum": 64, "default": 4}
    assert precision["enum"] == ["no", "fp16", "bf16"]
