"""The pages on training: every option of the field has a row that is true, and what they show can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from loracore import ConfigError
from loracore.cli.request import read_request
from loracore.config.prompts.file import read_prompts
from loracore.config.refused import refusal
from tests.house.named_tests import functions_in

ROOT = Path(__file__).parents[2]
KNOWN = json.loads((ROOT / "tests" / "data" / "training.json").read_text(encoding="utf-8"))["options"]
NAMES = list(dict.fromkeys([*KNOWN["common"], *KNOWN["sdxl_extra"], *KNOWN["sd3_extra"]]))
#: Options that name or ask for a file on the command line, and stand in no table.
SWITCHES = ("config_file", "output_config")
#: What stands in a file of tests for options that are not named there: both caches on disk, asked for at once.
WORDS = {
    "cache_latents_to_disk": "DISK",
    "cache_text_encoder_outputs_to_disk": "DISK",
}
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \| (`tests/[^|]+`) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
BLOCK = re.compile(r"^```(text|toml|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """What the page says of an option."""

    owner: str
    effect: str
    tests: tuple[tuple[str, str], ...]  # file, name


@pytest.fixture(scope="module")
def rows() -> Mapping[str, Row]:
    text = (ROOT / "docs" / "options-of-the-field.md").read_text(encoding="utf-8")
    found = ROW.findall(text)
    names = [name for name, *_ in found]
    assert sorted(names) == sorted(set(names))
    assert text.count("\n| `") == len(names)
    return {name: Row(owner, effect, tuple(TEST.findall(tests))) for name, owner, effect, tests in found}


def test_every_option_of_the_field_has_one_row_and_nothing_else_has(rows: Mapping[str, Row]) -> None:
    assert set(rows) == set(NAMES)
    assert len(rows) == 218


def test_every_row_names_the_tables_that_declare_its_option(
    rows: Mapping[str, Row], owners: Mapping[str, frozenset[str]]
) -> None:
    said = {name: frozenset(re.findall(r"`(\w+)`", row.owner)) for name, row in rows.items()}
    assert said == {name: owners.get(name, frozenset()) for name in rows}


def test_what_nobody_declares_is_refused_or_a_switch(
    rows: Mapping[str, Row], owners: Mapping[str, frozenset[str]]
) -> None:
    undeclared = {name for name in rows if name not in owners}
    assert {name for name, row in rows.items() if row.owner == "refused"} == undeclared - {*SWITCHES}
    assert [name for name in undeclared if refusal(name) is None] == []


def test_every_row_names_tests_that_exist_in_files_that_know_the_option(rows: Mapping[str, Row]) -> None:
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for row in rows.values() for file, _ in row.tests}
    functions = {file: functions_in(ROOT / file) for file in texts}
    assert [one for row in rows.values() for one in row.tests if one[1] not in functions[one[0]]] == []
    strange = [
        name
        for name, row in rows.items()
        if not any(re.search(rf"\b(no_)?{WORDS.get(name, name)}\b", texts[file]) for file, _ in row.tests)
    ]
    assert strange == []


@pytest.mark.parametrize(
    "words",
    [
        *(["--xformers"], ["--mem_eff_attn"], ["--cache_info"], ["--skip_cache_check"]),
        *(["--persistent_data_loader_workers"], ["--skip_until_initial_step"]),
        *(["--ddp_gradient_as_bucket_view"], ["--ddp_static_graph"]),
    ],
    ids=lambda words: words[0].removeprefix("--"),
)
def test_an_option_without_effect_is_said(words: list[str], rows: Mapping[str, Row]) -> None:
    (note,) = read_request(["--arch", "sdxl", *words]).notes
    assert note.startswith(f"{words[0]}: without effect")
    assert "**Without effect**" in rows[words[0].removeprefix("--")].effect


@pytest.mark.parametrize(
    "name",
    [
        *("deepspeed", "zero_stage", "offload_optimizer_device", "offload_optimizer_nvme_path"),
        *("offload_param_device", "offload_param_nvme_path", "zero3_init_flag", "zero3_save_16bit_model"),
        "fp16_master_weights_and_gradients",
    ],
)
def test_a_refused_option_says_why(name: str, rows: Mapping[str, Row]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_request(["--arch", "sdxl", f"--{name}", "1"])
    why = refusal(name)
    assert why is not None
    assert f"--{name}: {name} is not supported: {why.message}" in str(caught.value)
    assert rows[name].owner == "refused"


def test_options_of_ddpm_noise_are_refused_with_sd3(rows: Mapping[str, Row]) -> None:
    refused = "SD3: **refused** with the reason; the reference ignores it"
    names = [name for name, row in rows.items() if row.effect.endswith(refused)]
    assert len(names) == 12
    for name in names:
        with pytest.raises(ConfigError, match=f"{name} is not supported: it is for denoisers"):
            read_request(["--arch", "sd3", f"--{name}", "1"])


def test_the_prompts_that_the_page_shows_can_be_read(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    found = {kind: shown for kind, shown in BLOCK.findall(text) if "a cat" in shown}
    assert set(found) == {"text", "toml", "json"}
    for kind, shown in found.items():
        path = tmp_path / f"prompts.{kind.replace('text', 'txt')}"
        path.write_text(shown, encoding="utf-8")
        read = read_prompts(path)
        assert read.remarks == ()
        assert len(read.prompts) == 2
