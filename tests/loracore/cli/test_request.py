"""A command line becomes a request in two passes: plugins first, then every option with its name and type known."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore import ConfigError, NetworkOptions, PluginError, PluginOptions, TrainingOptions
from loracore.cli.request import Request, read_request
from loracore.config.toml_file import TomlFile
from tests.loracore.conftest import PLUGIN, TOY_ARCHITECTURE, Install

pytestmark = pytest.mark.usefixtures("toys", "folder")

TOYS = ("--arch", "toy", "--network_module", "toynet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_file(text: str) -> str:
    Path("run.toml").write_text(text, encoding="utf-8")
    return "run.toml"


def said(*argv: str, needs: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_request(argv, needs)
    return [str(problem) for problem in caught.value.problems]


def option(request: Request, name: str) -> object:
    return dict(request.config)[name]


def test_flags_alone_make_a_request() -> None:
    request = read_request([*TOYS, "--toy_width", "3", "--network-dim=8", "--toy_gentle"])
    assert (option(request, "toy_width"), option(request, "toy_gentle")) == (3, True)
    assert request.config[NetworkOptions].network_dim == 8
    assert request.document is None


def test_a_file_alone_makes_a_request() -> None:
    path = config_file('arch = "toy"\n[network]\nnetwork_module = "toynet"\ntoy_dropout = 0.5\n')
    request = read_request([path])
    assert option(request, "toy_dropout") == 0.5
    assert request.config.place("toy_dropout") == "run.toml:4"
    assert request.document is not None
    assert request.document.path == Path(path)


def test_a_flag_wins_over_the_file_for_the_architecture_too() -> None:
    path = config_file('arch = "other"\nnetwork_module = "toynet"\n')
    assert read_request([path, "--arch", "toy"]).config[PluginOptions].arch == "toy"


def test_config_may_stand_behind_a_switch_that_only_a_plugin_knows() -> None:
    path = config_file('arch = "toy"\nnetwork_module = "toynet"\n')
    assert read_request(["--toy_gentle", path]).document is not None
    assert read_request([*TOYS, "--toy_gentle", path]).document is not None


def test_a_toml_file_that_is_an_option_of_a_plugin_is_no_config(install: Install) -> None:
    field = '\n    toy_file: Annotated[str, option("a file")] = ""\n\n@hookimpl\ndef options'
    install("paths", "architecture", "paths", TOY_ARCHITECTURE.replace("\n@hookimpl\ndef options", field, 1))
    request = read_request(["--arch", "paths", "--network_module", "toynet", "--toy_file", config_file("")])
    assert request.document is None
    assert option(request, "toy_file") == "run.toml"


def test_every_problem_comes_at_once_with_its_place() -> None:
    path = config_file("toy_widht = 3\nnetwork_dim = 0\ntoy_mode = 'fats'\n")
    assert sorted(said(path, *TOYS, "--learning_rate", "x", needs=("output_dir",))) == [
        "--learning_rate: must be a number, at least 0, not 'x'",
        'output_dir is missing (give --output_dir VALUE, or write output_dir = "…" in CONFIG)',
        "run.toml:1: unknown option 'toy_widht' (did you mean 'toy_width'?)",
        "run.toml:2: network_dim: must be a whole number, at least 1, not 0",
        "run.toml:3: toy_mode: must be one of fast, slow, not 'fats' (did you mean 'fast'?)",
    ]


def test_what_a_plugin_finds_wrong_comes_with_the_rest() -> None:
    assert said(*TOYS, "--toy_mode", "slow", "--unheard") == [
        "--unheard: unknown option 'unheard'",
        "--toy_mode: slow toys are broken (go fast)",
    ]


def test_what_plugins_find_wrong_comes_with_values_that_do_not_fit() -> None:
    found = said(*TOYS, "--toy_mode", "slow", "--toy_width", "x", "--initial_step", "1", "--initial_epoch", "2")
    assert sorted(found) == [
        "--initial_epoch: initial_step says already where the run begins (drop one of them)",
        "--toy_mode: slow toys are broken (go fast)",
        "--toy_width: must be a whole number, at least 1, at most 8, not 'x'",
    ]


def test_nothing_is_concluded_from_a_value_that_does_not_fit() -> None:
    wrong = ("--sample_prompts", "x\0y", "--sample_every_n_steps", "1")
    (problem,) = said(*TOYS, *wrong)
    assert problem == "--sample_prompts: must hold no NUL character"
    rates = ("--optimizer_type", "Prodigy", "--learning_rate", "x", "--unet_lr", "0.5")
    assert said(*TOYS, *rates) == ["--learning_rate: must be a number, at least 0, not 'x'"]


def test_a_model_that_is_not_there_is_told_once(install: Install) -> None:
    source = TOY_ARCHITECTURE.replace('"toy_mode", "slow', '"pretrained_model_name_or_path", "slow')
    install("loud", "architecture", "loud", source.replace('mode == "fast"', "False"))
    model = ("--pretrained_model_name_or_path", "/no/model")
    found = said("--arch", "loud", *TOYS[2:], *model, needs=("pretrained_model_name_or_path",))
    assert len(found) == 1


def test_options_without_effect_are_notes() -> None:
    assert read_request([*TOYS, "--toy_limit", "150"]).notes == ("--toy_limit: toy_limit is not looked at",)


def test_an_unknown_option_imports_no_plugin_that_the_run_does_not_name(install: Install, folder: Path) -> None:
    mark = folder / "imported"
    install("other", "extension", "other", f"open({str(mark)!r}, 'w').close()\nimport os\nos._exit(0)")
    assert said(*TOYS, "--unheard", "3") == ["--unheard: unknown option 'unheard'"]
    assert not mark.exists()


def test_a_missing_architecture_lists_the_installed_ones() -> None:
    (problem,) = said(needs=("arch",))
    assert problem.startswith("the architecture of the base model is missing")
    assert "toy" in problem


def test_pictures_in_two_places_are_a_note() -> None:
    path = config_file("[[datasets]]\nresolution = 64\n")
    (note,) = read_request([path, *TOYS, "--train_data_dir", "pics"]).notes
    assert note == "--train_data_dir: train_data_dir is without effect: [[datasets]] in run.toml wins"


def test_an_extension_brings_its_options(install: Install) -> None:
    table = "@dataclass(frozen=True)\nclass E:\n    ext_on: Annotated[bool, option('on')] = False\n"
    install("ext", "extension", "ext", f"{PLUGIN}{table}@hookimpl\ndef options(): return (E,)\n")
    assert option(read_request([*TOYS, "--extensions", "ext", "--ext_on"]), "ext_on") is True


def test_two_plugins_with_one_option_are_both_named(install: Install) -> None:
    install("ext", "extension", "ext", TOY_ARCHITECTURE.partition("@hookimpl\ndef check_options")[0])
    with pytest.raises(PluginError, match=r"'toy_width' is declared twice: by architecture toy .* and extension ext"):
        read_request([*TOYS, "--extensions", "ext"])


def test_network_args_open_the_architectures_and_the_networks_options() -> None:
    request = read_request([*TOYS, "--network_args", "toy_width=4", "toy_conv=true", "toy_kinds=1,2"])
    assert [option(request, name) for name in ("toy_width", "toy_conv", "toy_kinds")] == [4, True, (1, 2)]


def test_a_document_beneath_gives_what_nobody_else_says() -> None:
    beneath = TomlFile(Path("demo"), {"network_dim": 2, "seed": 7, "max_train_steps": 9}, {})
    path = config_file("network_dim = 3\nseed = 8\n")
    request = read_request([path, *TOYS, "--seed", "9"], beneath=beneath)
    training = request.config[TrainingOptions]
    assert (request.config[NetworkOptions].network_dim, training.seed, training.max_train_steps) == (3, 9, 9)


def test_a_missing_config_is_an_error() -> None:
    assert said("nothing.toml", *TOYS)[0].startswith("nothing.toml: no such file")


def test_plugin_names_that_are_no_names_are_errors() -> None:
    assert said(config_file("arch = true\n")) == ["run.toml:1: arch: must be text, not true"]
