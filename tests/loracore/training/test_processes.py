from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore import Config, ConfigError, DataOptions
from loracore.training.processes import loader_threads, weight_dtype

#: Prints how long a process of several waits for the others.
WAITING = """
import torch
from torch import distributed
from loracore.config.options import ProcessOptions
from loracore.training.processes import join_processes
joined = join_processes(ProcessOptions(ddp_timeout=7))
group = distributed.group.WORLD
print(group._get_backend(torch.device("cpu")).options._timeout)
distributed.destroy_process_group()
"""


def launch(config: Path, count: int, *words: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-m", "loracore", "train", str(config), *words], check=True, env=env, timeout=100)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_train_what_one_trains_with_the_same_global_batch(toy_config: Path, tmp_path: Path) -> None:
    # 3 pictures a bucket: with 4 in a global batch every batch is short, and the processes' shares differ.
    dropouts = ("--network_args", "rank_dropout=0.3", "--network_dropout", "0.2")
    launch(toy_config, 1, "--output_name", "one", "--train_batch_size", "4", *dropouts)
    launch(toy_config, 2, "--output_name", "two", "--train_batch_size", "2", *dropouts)
    one, two = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("one", "two"))
    # Sums over samples are taken in another order, and AdamW's first steps follow the sign of tiny gradients.
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4


def test_precision_names_are_dtypes() -> None:
    cpu = torch.device("cpu")
    assert [weight_dtype(name, cpu) for name in ("no", "fp16", "bf16")] == [
        torch.float32,
        torch.float16,
        torch.bfloat16,
    ]


@pytest.mark.timeout(60)
def test_processes_wait_for_each_other_as_long_as_they_are_told(tmp_path: Path) -> None:
    program = tmp_path / "waiting.py"
    program.write_text(WAITING, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(program)]
    done = subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert b"0:07:00" in done.stdout


@pytest.mark.parametrize("threads", [0, 1])
def test_the_run_says_how_many_threads_load_ahead(threads: int) -> None:
    assert loader_threads(Config([DataOptions(max_data_loader_n_workers=threads)], {})) == threads


def test_a_card_without_bf16_is_an_early_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "old card")
    with pytest.raises(ConfigError, match='set mixed_precision = "fp16"'):
        weight_dtype("bf16", torch.device("cuda"))
