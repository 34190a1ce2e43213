"""Strangers' plugins, built into wheels and installed beside a core that has never heard of them, train and save."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
Train = Callable[..., "subprocess.CompletedProcess[str]"]

SOURCES = Path(__file__).parent / "data" / "third_party"
#: Processes that import torch take their time on a busy machine; the first test builds the wheels, too.
pytestmark = pytest.mark.timeout(300)

RECIPE = {"width": 12, "depth": 2, "seed": 5}


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return, for each source tree, the folder that its wheel was installed into."""
    folder = tmp_path_factory.mktemp("third-party")
    trees = shutil.copytree(SOURCES, folder / "trees")  # a build writes into the tree
    names = sorted(tree.name for tree in trees.iterdir())
    wheels = folder / "wheels"
    pip("wheel", "--no-build-isolation", "--wheel-dir", wheels, *(trees / name for name in names))
    for name in names:
        wheel = next(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
        pip("install", "--target", folder / "sites" / name, wheel)
    return {name: folder / "sites" / name for name in names}


def pip(command: str, *words: str | Path) -> None:
    """Run pip without index, dependencies and anybody's configuration."""
    switches = [command, "--quiet", "--no-index", "--no-deps", "--no-input", "--disable-pip-version-check"]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *switches, *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def use(sites: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that puts installed wheels on the path of the processes to come."""

    def put(*names: str) -> None:
        path = [str(sites[name]) for name in names]
        before = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, before] if before else path))

    return put


@pytest.fixture
def train(cli: RunCli, pictures: Path, tmp_path: Path) -> Train:
    """Give a function that trains a few steps with a process of its own."""
    recipe = tmp_path / "acme.json"
    recipe.write_text(json.dumps(RECIPE), encoding="utf-8")
    shared: Sequence[str | Path] = (
        *("--pretrained_model_name_or_path", recipe),
        *("--train_data_dir", pictures, "--caption_extension", ".txt"),
        *("--resolution", "64", "--enable_bucket", "--min_bucket_reso", "32", "--bucket_reso_steps", "16"),
        *("--learning_rate", "1e-2", "--max_train_steps", "4", "--train_batch_size", "2", "--seed", "1"),
        *("--output_dir", tmp_path / "out", "--output_name", "result"),
    )

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return cli("train", *more, *shared)

    return run


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return tmp_path / "out" / "result.safetensors"


def moved(tensors: Mapping[str, torch.Tensor], name: str) -> bool:
    """Tell whether a tensor that starts at zero was trained."""
    return bool(tensors[name].isfinite().all()) and bool(tensors[name].any())


def test_a_strangers_architecture_and_network_train_and_save(
    use: Callable[..., None], train: Train, result: Path
) -> None:
    use("loracore-acme", "loracore-acmenet")
    done = train("--arch", "acme", "--network_module", "acmenet", "--network_args", "acme_factors=3", "acme_mix_dim=2")
    assert done.returncode == 0, done.stderr
    tensors = load_file(result)
    assert tensors["lora_unet_blocks_1_kv.up3"].shape == (24, 2)  # key and value stacked
    assert moved(tensors, "lora_unet_blocks_1_kv.up3")
    assert moved(tensors, "lora_te1_gate.up3")


def test_a_strangers_architecture_trains_the_built_in_network_beside_a_broken_plugin(
    use: Callable[..., None], train: Train, result: Path
) -> None:
    use("loracore-acme", "loracore-broken")
    flags = ("--acme_caption_dropout", "0.5", "--acme_mix_dim", "0", "--network_train_unet_only")
    done = train("--arch", "acme", "--gradient_checkpointing", "--mixed_precision", "bf16", *flags)
    assert done.returncode == 0, done.stderr
    with safe_open(result, "pt") as file:
        assert file.metadata()["ss_base_model_version"] == "acme_v1"  # what its file_metadata answers
    tensors = load_file(result)
    assert {name.partition(".")[0] for name in tensors} == {"lora_unet_blocks_0_think", "lora_unet_blocks_1_think"}
    assert moved(tensors, "lora_unet_blocks_0_think.lora_up.weight")


@pytest.mark.usefixtures("toy_site")
def test_a_strangers_network_trains_on_another_architecture(
    use: Callable[..., None], train: Train, result: Path
) -> None:
    use("loracore-acmenet")
    done = train("--arch", "toy", "--network_module", "acmenet", "--network_dim", "2", "--scale_weight_norms", "0.01")
    assert done.returncode == 0, done.stderr
    tensors = load_file(result)
    assert moved(tensors, "lora_unet_blocks_0_conv.up2")
    ups, downs = ([tensors[f"lora_unet_blocks_0_conv.{kind}{number}"] for number in (1, 2)] for kind in ("up", "down"))
    change = (ups[0] @ downs[0]) * (ups[1] @ downs[1]) / 2  # alpha 1, rank 2
    assert change.norm() <= 0.01 * 1.001


def test_a_strangers_file_is_trained_further(use: Callable[..., None], train: Train, result: Path) -> None:
    use("loracore-acme", "loracore-acmenet")
    plugins = ("--arch", "acme", "--network_module", "acmenet")
    assert train(*plugins, "--network_dim", "3").returncode == 0
    first = result.rename(result.with_name("first.safetensors"))
    still = ("--unet_lr", "1e-12", "--text_encoder_lr", "1e-12")
    done = train(*plugins, "--network_weights", str(first), "--dim_from_weights", *still)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(load_file(result), load_file(first), rtol=0, atol=1e-8)


def test_strangers_options_are_checked_like_our_own(use: Callable[..., None], train: Train) -> None:
    use("loracore-acme", "loracore-acmenet")
    done = train(
        "--arch", "acme", "--network_module", "acmenet", "--acme_gama", "1", "--network_args", "acme_factors=9"
    )
    assert done.returncode == 2
    assert "acme_gamma" in done.stderr
    assert "acme_factors" in done.stderr
    assert "at most 3" in done.stderr


def test_a_strangers_own_errors_are_shown_without_traceback(
    use: Callable[..., None], train: Train, tmp_path: Path
) -> None:
    use("loracore-acme")
    (tmp_path / "acme.json").write_text("{}", encoding="utf-8")
    done = train("--arch", "acme")
    assert done.returncode == 2
    assert "this is no Acme recipe" in done.stderr
    assert "Traceback" not in done.stderr
    assert "caption" not in done.stderr  # its check_models spoke before anything was encoded


def test_plugins_lists_strangers(use: Callable[..., None], cli: RunCli) -> None:
    use("loracore-acme", "loracore-acmenet", "loracore-broken")
    listed = {
        (each["name"], each["kind"], each["package"], each["version"]) for each in json_of(cli("plugins", "--json"))
    }
    assert {
        ("acme", "architecture", "loracore-acme", "1.4"),
        ("acmenet", "network", "loracore-acmenet", "0.3"),
        ("broken", "extension", "loracore-broken", "7.0"),
    } <= listed


def json_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    """Return what stdout holds, which is JSON alone."""
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_options_shows_strangers_options(use: Callable[..., None], cli: RunCli) -> None:
    use("loracore-acme", "loracore-acmenet")
    shown = cli("options", "--arch", "acme", "--network", "acmenet").stdout
    assert "--acme_gamma float, at least 0  [5.0]" in shown
    assert "AcmenetOptions (network acmenet)" in shown
    assert "low-rank products that are multiplied; also in network_args" in shown


def test_another_architectures_option_is_unknown_and_nobody_is_asked(use: Callable[..., None], cli: RunCli) -> None:
    use("loracore-acme", "loracore-broken")
    done = cli("train", "--arch", "sdxl", "--acme_gamma", "1")
    assert done.returncode == 2
    assert "unknown option 'acme_gamma'" in done.stderr
    assert "broken" not in done.stderr


def test_a_broken_plugin_is_an_error_for_a_run_that_names_it(
    use: Callable[..., None], train: Train, result: Path
) -> None:
    use("loracore-acme", "loracore-broken")
    done = train("--arch", "acme", "--extensions", "broken")
    assert done.returncode == 2
    assert "loracore-broken 7.0" in done.stderr
    assert "the moon is in the wrong house" in done.stderr
    assert "Traceback" not in done.stderr
    assert not result.parent.exists()


def test_check_shows_which_plugins_are_sound_and_why_one_is_not(use: Callable[..., None], cli: RunCli) -> None:
    use("loracore-acme", "loracore-acmenet", "loracore-broken")
    done = cli("plugins", "--check")
    lines = done.stdout.splitlines()
    verdicts = {line.split()[0]: line.split()[-1] for line in lines if not line.startswith(" ")}
    assert done.returncode == 1
    assert (verdicts["acme"], verdicts["acmenet"], verdicts["broken"]) == ("ok", "ok", "BROKEN")
    assert "the moon is in the wrong house" in done.stdout


def test_two_wheels_that_claim_one_name_are_both_named(use: Callable[..., None], train: Train, result: Path) -> None:
    use("loracore-acme", "acme-reloaded")
    done = train("--arch", "acme")
    assert done.returncode == 2
    assert "acme-reloaded 2.1" in done.stderr
    assert "loracore-acme 1.4" in done.stderr
    assert not result.parent.exists()
