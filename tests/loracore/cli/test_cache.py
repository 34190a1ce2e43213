from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import RunCli

#: Processes that import torch take their time on a busy machine.
pytestmark = pytest.mark.timeout(240)

Start = Callable[..., "subprocess.Popen[str]"]

DISK = ("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk")
FRESH = ["captions: 0 from the cache, 6 encoded now", "latents: 0 from the cache, 6 encoded now"]
KNOWN = ["captions: 6 from the cache, 0 encoded now", "latents: 6 from the cache, 0 encoded now"]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the command line, of one process or of several."""

    def begin(*words: str | Path, count: int = 1, most: int | None = None) -> subprocess.Popen[str]:
        many = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"] if count > 1 else []
        command = [sys.executable, *many, "-m", "loracore", *map(str, words)]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))) if most else None
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=env,
            preexec_fn=limit,  # noqa: PLW1509  # this process has no other thread that matters here
        )

    return begin


def notes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("note").strip() for line in done.stderr.splitlines() if line.startswith("note")]


def test_caches_are_filled_once_and_training_encodes_nothing(cli: RunCli, toy_config: Path, folder: str) -> None:
    first, second = (cli("cache", toy_config, "--cache_dir", folder) for _ in range(2))
    assert (first.returncode, first.stdout.splitlines()) == (0, FRESH)
    assert (second.returncode, second.stdout.splitlines()) == (0, KNOWN)
    trained = cli("train", toy_config, "--cache_dir", folder, *DISK)
    assert trained.returncode == 0
    assert notes(trained) == KNOWN


def test_two_processes_that_fill_a_store_at_once_lose_nothing(
    start: Start, cli: RunCli, toy_config: Path, folder: str
) -> None:
    both = [start("cache", toy_config, "--cache_dir", folder) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert cli("cache", toy_config, "--cache_dir", folder).stdout.splitlines() == KNOWN


@pytest.mark.slow
def test_the_processes_of_one_command_share_the_work(start: Start, cli: RunCli, toy_config: Path, folder: str) -> None:
    process = start("cache", toy_config, "--cache_dir", folder, count=2)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert out.splitlines() == FRESH
    assert cli("cache", toy_config, "--cache_dir", folder).stdout.splitlines() == KNOWN


@pytest.mark.slow
def test_two_processes_train_from_the_store_what_one_does(
    start: Start, toy_config: Path, folder: str, tmp_path: Path
) -> None:
    words = ("--flip_aug", "--shuffle_caption", "--caption_dropout_rate", "0.3", "--cache_dir", folder, *DISK)
    two = start("train", toy_config, "--output_name", "two", "--train_batch_size", "2", *words, count=2)
    _, error = two.communicate(timeout=120)
    assert two.returncode == 0, error
    one = start("train", toy_config, "--output_name", "one", "--train_batch_size", "4", *words)
    _, error = one.communicate(timeout=120)
    assert one.returncode == 0, error
    left, right = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("one", "two"))
    # as in training/test_processes.py: sums are taken in another order
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-4
    assert any(bool(torch.any(tensor)) for name, tensor in left.items() if "lora_up" in name)


def test_a_full_disk_is_said_and_the_next_run_goes_on(start: Start, cli: RunCli, toy_config: Path, folder: str) -> None:
    full = start("cache", toy_config, "--cache_dir", folder, most=8192)
    _, error = full.communicate(timeout=120)
    assert full.returncode == 2
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if "the cache cannot be written" in line]
    assert "free space there or choose another cache_dir" in line
    assert cli("cache", toy_config, "--cache_dir", folder).stdout.splitlines() == [KNOWN[0], FRESH[1]]


def test_what_is_encoded_in_every_step_is_said(cli: RunCli, toy_config: Path, folder: str) -> None:
    done = cli("cache", toy_config, "--cache_dir", folder, "--color_aug", "--no_network_train_unet_only")
    assert done.returncode == 0
    pictures, captions = done.stdout.splitlines()
    assert "color_aug changes them each time" in pictures
    assert captions == "captions: not cached for the text encoders, whose adapters change what they say"
