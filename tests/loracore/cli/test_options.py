"""``loracore options`` prints every option, or a JSON Schema and nothing else."""

from __future__ import annotations

import json

import pytest

from loracore.cli.choice import core_options
from tests.loracore.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("toys")


@pytest.mark.parametrize("name", core_options().options)
def test_every_core_option_is_printed_with_its_help(loracore: Call, name: str) -> None:
    lines = loracore("options").out.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith(f"  --{name} ")]
    said = lines[at + 1].strip().removesuffix("; also in network_args")
    assert said in core_options().options[name].help


def test_an_option_shows_owner_type_range_choices_and_default(loracore: Call) -> None:
    text = loracore("options", "--arch", "toy", "--network", "toynet").out
    for line in (
        "ToyOptions (architecture toy): What the toy knows.",
        "  --toy_width int, at least 1, at most 8  [2]\n      width of the toy; also in network_args",
        "  --toy_mode fast|slow  [fast]",
        "  --toy_gentle  [off]",
        "  --toy_kinds int ...  [unset]",
        "ToyNetworkOptions (network toynet): What the toy network knows.",
    ):
        assert line in text


def test_without_an_architecture_the_plugins_have_a_line_each(loracore: Call) -> None:
    text = loracore("options").out
    assert "  architecture toy (loracore-toy 1.5)" in text
    assert "toy_width" not in text


def test_the_schema_stands_alone_on_stdout_and_knows_the_plugins(loracore: Call) -> None:
    schema = json.loads(loracore("options", "--arch", "toy", "--network", "toynet", "--json-schema").out)
    assert schema["$defs"]["toy_mode"]["enum"] == ["fast", "slow"]
    assert schema["additionalProperties"]["additionalProperties"] is False


def test_an_unknown_architecture_is_an_error(loracore: Call) -> None:
    assert loracore("options", "--arch", "marvel").code == 2
