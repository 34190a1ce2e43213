"""The page on the guides' options: every option has a row, and every row is true of its owner and its test."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open

from loracore.cli.choice import flags_choice, plugin_options
from loracore.cli.config_switches import CONFIG_SWITCHES
from loracore.cli.run_command import without_switches
from loracore.config.checking import check
from loracore.config.flags import read_flags
from loracore.config.options import PluginOptions
from loracore.weights.options import ConvertOptions, ExtractOptions, MergeOptions, ResizeOptions
from tests.house.named_tests import functions_in
from tests.toy_runs import TrainToy

#: Every option, and every key of network_args, that the SDXL guide or the SD3 guide names.
OF_THE_GUIDES = """
apply_lg_attn_mask apply_t5_attn_mask blocks_to_swap cache_latents cache_latents_to_disk cache_text_encoder_outputs
cache_text_encoder_outputs_to_disk caption_dropout_rate clip_g clip_g_dropout_rate clip_l clip_l_dropout_rate clip_skip
color_aug context_attn_dim context_mlp_dim context_mod_dim cpu_offload_checkpointing dataset_config emb_dims
enable_scaled_pos_embed flip_aug fused_backward_pass gradient_accumulation_steps gradient_checkpointing help
learning_rate log_prefix logging_dir logit_mean logit_std lr_scheduler lr_warmup_steps max_train_epochs max_train_steps
mixed_precision mode_scale network_alpha network_args network_dim network_module network_train_unet_only no_half_vae
num_cpu_threads_per_process optimizer_type output_dir output_name pos_emb_random_crop_rate
pretrained_model_name_or_path random_crop sample_prompts save_clip save_every_n_epochs save_model_as save_t5xxl sdpa
seed shuffle_caption t5_dropout_rate t5xxl t5xxl_device t5xxl_dtype t5xxl_max_token_length text_encoder_lr
text_encoder_lr1 text_encoder_lr2 train_block_indices training_shift unet_lr v2 v_parameterization vae verbose
weighting_scheme x_attn_dim x_mlp_dim x_mod_dim
""".split()  # noqa: SIM905  # a list of words is read best as one
#: Those of them that are no options of a run.
STRANGERS = ("help", "num_cpu_threads_per_process")
#: Tables of which every option has a row, whether a guide names it or not.
WHOLE_TABLES = ("NetworkOptions", "BlockOptions", "LoraOptions")
TABLES = {"merge": MergeOptions, "convert": ConvertOptions, "resize": ResizeOptions, "extract": ExtractOptions}
DOCUMENTS = ("README.md", "docs/guides.md", "docs/networks.md", "docs/tools.md", "docs/training.md")
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE)
#: Commands whose words are not options of a run.
OTHER_WORDS = ("inspect", "report", "new-plugin")
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """What the page says of an option."""

    owner: str
    effect: str
    file: str
    test: str


@pytest.fixture(scope="module")
def rows(root: Path) -> Mapping[str, Row]:
    found = ROW.findall((root / "docs" / "guides.md").read_text(encoding="utf-8"))
    names = [name for name, *_ in found]
    assert len(names) == len(set(names))
    return {name: Row(*rest) for name, *rest in found}


def test_every_option_of_the_guides_has_a_row(rows: Mapping[str, Row]) -> None:
    assert [name for name in OF_THE_GUIDES if name not in rows] == []


def test_every_option_of_networks_and_architectures_has_a_row(
    rows: Mapping[str, Row], owners: Mapping[str, frozenset[str]]
) -> None:
    core = {name for name, option in plugin_options(PluginOptions()).options.items() if option.owner == "core"}
    wanted = {name for name, tables in owners.items() if name not in core or tables & set(WHOLE_TABLES)}
    assert wanted - set(rows) == set()


def test_every_row_names_the_tables_that_declare_its_option(
    rows: Mapping[str, Row], owners: Mapping[str, frozenset[str]]
) -> None:
    said = {name: frozenset(re.findall(r"`(\w+)`", row.owner)) for name, row in rows.items() if name not in STRANGERS}
    assert said == {name: owners.get(name, frozenset()) for name in said}


def test_every_row_names_a_test_that_exists(rows: Mapping[str, Row], root: Path) -> None:
    tests = {file: functions_in(root / file) for file in {row.file for row in rows.values()}}
    assert [f"{row.file}::{row.test}" for row in rows.values() if row.test not in tests[row.file]] == []


@pytest.mark.parametrize("arch", ["sdxl", "sd3"])
@pytest.mark.parametrize("name", [name for name in STRANGERS if name != "help"])
def test_what_is_no_option_of_loracore_is_an_unknown_option(name: str, arch: str) -> None:
    (problem,) = _problems("train", ["--arch", arch, f"--{name}", "1"])
    assert problem.startswith(f"--{name}: unknown option '{name}'")


def test_other_file_formats_are_refused() -> None:
    (problem,) = _problems("train", ["--arch", "sdxl", "--save_model_as", "diffusers"])
    assert "safetensors" in problem


def test_a_training_comment_is_an_option_that_the_header_has(train_toy: TrainToy) -> None:
    with safe_open(train_toy("--training_comment", "my cat"), "pt") as file:
        assert file.metadata()["ss_training_comment"] == "my cat"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_line_of_a_document_can_be_read(document: str, root: Path) -> None:
    text = (root / document).read_text(encoding="utf-8")
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("loracore ")]
    assert commands
    assert [problem for name, *words in commands if name not in OTHER_WORDS for problem in _problems(name, words)] == []


def _problems(command: str, words: list[str]) -> list[str]:
    """Return what is wrong with a command line, as far as its options alone tell."""
    tables = (TABLES[command],) if command in TABLES else ()
    words, _ = without_switches(words, CONFIG_SWITCHES)
    declared = plugin_options(flags_choice(words, tables), tables)
    flags = read_flags(words, declared.options)
    return [str(problem) for problem in (*flags.problems, *check([flags.given], declared).problems)]
