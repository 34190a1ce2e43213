"""Sharded denoisers, as accelerate's configuration asks for them: two processes on the CPU, over gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from loracore.cli.fsdp import wanted_sharding
from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.config.sharding import Sharding
from loracore.testing.installing import install_metadata
from tests.conftest import RunCli

pytestmark = pytest.mark.timeout(240)

#: What this process holds of the blocks, and what they are in whole.
WATCH = """
import os, pathlib
from loracore import hookimpl
LORACORE_API = 1

@hookimpl
def run_started(run):
    parameters = [one for block in run.steps.forward.models.blocks["unet"] for one in block.parameters()]
    own = sum((one.to_local() if hasattr(one, "to_local") else one).numel() for one in parameters)
    text = f"{own} {sum(one.numel() for one in parameters)}"
    pathlib.Path(run.results.files.folder, run.results.files.name + "-" + os.environ["RANK"]).write_text(text)
"""


@pytest.fixture
def watched(toy_site: Path) -> tuple[str, str]:
    """Flags of a plugin that writes how much of the model a process holds."""
    install_metadata(toy_site, "watching", "1.0", {"loracore.extensions": {"watching": "watching"}})
    (toy_site / "watching.py").write_text(WATCH, encoding="utf-8")
    return ("--extensions", "watching")


def told(folder: Path, name: str, kind: str, key: str) -> list[float]:
    lines = (folder / f"{name}-log" / "events.jsonl").read_text("utf-8").splitlines()
    return [event[key] for event in map(json.loads, lines) if event["kind"] == kind]


def held(folder: Path, name: str) -> list[tuple[int, int]]:
    """Return what each process holds, and the whole."""
    found = [(folder / f"{name}-{index}").read_text("utf-8").split() for index in (0, 1)]
    return [(int(own), int(whole)) for own, whole in found]


OWN = ("loracore",)
ACCELERATE = (
    *("accelerate.commands.launch", "--use_fsdp", "--fsdp_version=2", "--fsdp_offload_params=true"),
    *("--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "-m", "loracore"),
)


@pytest.mark.parametrize(
    ("launcher", "words", "asked"),
    [
        (ACCELERATE, ("--network_module", "dora", "--fp8_base", "--gradient_accumulation_steps", "2"), {}),
        pytest.param(
            *(OWN, ("--gradient_checkpointing", "--use_ema"), {"FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["accelerate", "own"],
)
def test_sharded_weights_train_the_same(
    cli: RunCli,
    toy_config: Path,
    watched: tuple[str, str],
    tmp_path: Path,
    launcher: tuple[str, ...],
    words: tuple[str, ...],
    asked: dict[str, str],
) -> None:
    # With one sample for each process, the second has none of the last batch of a bucket.
    (tmp_path / "prompts.txt").write_text("one --w 64 --h 64\ntwo --w 64 --h 64\nthree --w 64 --h 64", "utf-8")
    previews = ("--sample_prompts", str(tmp_path / "prompts.txt"), "--sample_every_n_steps", "3")
    validation = ("--validation_split", "0.5", "--validate_every_n_steps", "2")
    common = (str(toy_config), "--num_processes", "2", "--train_batch_size", "1", *previews, *validation, *watched)
    plain = cli("train", *common, *words, "--output_name", "plain")
    assert plain.returncode == 0, plain.stderr
    command = [sys.executable, "-m", *launcher, "train", *common, *words, "--output_name", "sharded"]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        **({"ACCELERATE_USE_FSDP": "true"} if launcher == OWN else {}),
        **asked,
    }
    subprocess.run(command, check=True, env=env, cwd=tmp_path, timeout=100)
    out = tmp_path / "out"
    assert told(out, "sharded", "step", "loss") == told(out, "plain", "step", "loss")
    # Each process measures everything, in place of its share: sums in another order.
    measured = told(out, "plain", "validation", "loss")
    assert told(out, "sharded", "validation", "loss") == pytest.approx(measured, rel=1e-6)
    assert len(told(out, "sharded", "preview", "path")) == len(told(out, "plain", "preview", "path")) == 6
    one, other = (load_file(out / f"{name}.safetensors") for name in ("plain", "sharded"))
    assert all(one[name].equal(other[name]) for name in one)
    assert all(own == whole for own, whole in held(out, "plain"))
    assert sum(own for own, _ in held(out, "sharded")) == held(out, "plain")[0][1]
    assert all(0.4 < own / whole < 0.6 for own, whole in held(out, "sharded"))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, Sharding()),
        ({"FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}, Sharding(reshard=False)),
        ({"FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "false"}, Sharding(reshard=False)),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, Sharding(on_host=True)),
    ],
)
def test_what_accelerate_says_is_read(asked: dict[str, str], wanted: Sharding, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_sharding(Config([ModelOptions()], {})) is None
    for name, value in {"ACCELERATE_USE_FSDP": "true", **asked}.items():
        monkeypatch.setenv(name, value)
    assert wanted_sharding(Config([ModelOptions()], {})) == wanted


def test_what_cannot_be_done_is_said_at_once(cli: RunCli, toy_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"FSDP_SHARDING_STRATEGY": "HYBRID_SHARD", "FSDP_ACTIVATION_CHECKPOINTING": "true"}
    for name, value in {"ACCELERATE_USE_FSDP": "true", **asked}.items():
        monkeypatch.setenv(name, value)
    done = cli("train", toy_config, "--blocks_to_swap", "1")
    assert done.returncode == 2
    for said in ("HYBRID_SHARD is not done", "set gradient_checkpointing", "both move the weights of blocks"):
        assert said in done.stderr


def test_no_denoiser_may_run_in_one_process_alone(
    cli: RunCli, toy_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    subset = (
        f"[[datasets.subsets]]\nimage_dir = '{pictures}'\ncustom_attributes = {{ diff_output_preservation = true }}"
    )
    (tmp_path / "data.toml").write_text(f"[[datasets]]\nresolution = 64\n{subset}", encoding="utf-8")
    text = "".join(line for line in toy_config.read_text("utf-8").splitlines(keepends=True) if "train_data" not in line)
    toy_config.write_text(text, encoding="utf-8")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    done = cli("train", toy_config, "--dataset_config", tmp_path / "data.toml", "--num_processes", "2")
    assert (done.returncode, "runs the denoiser twice" in done.stderr) == (2, True), done.stderr
