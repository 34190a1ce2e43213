"""Runs of several processes on the CPU, over gloo: started by themselves, by torchrun and by accelerate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli
from safetensors.torch import load_file

from tests.conftest import RunCli
from tests.toy_runs import TrainToy

pytestmark = pytest.mark.timeout(240)

#: Sums over samples are taken in another order, and AdamW's first steps follow the sign of tiny gradients.
NOISE = 1e-4
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = (
    "accelerate.commands.launch",
    "--multi_gpu",
    "--num_processes=2",
    "--num_machines=1",
    "--mixed_precision=no",
)


def losses(folder: Path, name: str) -> list[float]:
    lines = (folder / f"{name}-log" / "events.jsonl").read_text("utf-8").splitlines()
    return [event["loss"] for event in map(json.loads, lines) if event["kind"] == "step"]


def difference(folder: Path, one: str, other: str) -> float:
    first, second = (load_file(folder / f"{name}.safetensors") for name in (one, other))
    return max((first[name] - second[name]).abs().max().item() for name in first)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(
    "words",
    [
        ("--cache_latents", "--gradient_accumulation_steps", "2", "--scale_weight_norms", "0.05"),
        pytest.param(
            ("--cache_latents_to_disk", "--network_args", "rank_dropout=0.3", "--network_dropout", "0.2"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("--cache_latents", "--base_model_precision", "nf4"), marks=pytest.mark.slow),
    ],
    ids=["accumulated", "dropout", "nf4"],
)
def test_two_processes_train_what_one_trains(
    cli: RunCli, train_toy: TrainToy, toy_config: Path, out: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    # 3 pictures a bucket: with 4 in a global batch every batch is short, and the processes' shares differ.
    train_toy("--output_name", "one", "--train_batch_size", "4", *words)
    cache = ("--cache_dir", tmp_path / "cache")
    two = cli("train", toy_config, "--output_name", "two", "--num_processes", "2", *cache, *words)
    assert two.returncode == 0, two.stderr
    assert two.stdout.splitlines() == [str(out / "two.safetensors")]
    assert len(losses(out, "one")) == 6
    assert losses(out, "two") == pytest.approx(losses(out, "one"), rel=1e-4)  # an older step's NOISE in it
    assert difference(out, "one", "two") < NOISE


@pytest.mark.slow
def test_other_launchers_train_the_same(cli: RunCli, toy_config: Path, out: Path, tmp_path: Path) -> None:
    words = ("train", str(toy_config), "--max_train_steps", "3", "--num_processes", "2", "--output_name")
    cli(*words, "own")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, launcher in (("torchrun", TORCHRUN), ("accelerate", ACCELERATE)):
        command = [sys.executable, "-m", *launcher, "-m", "loracore", *words, name]
        subprocess.run(command, check=True, env=env, cwd=tmp_path, timeout=100)
        assert difference(out, "own", name) == 0.0


def test_a_launcher_and_the_option_must_agree(cli: RunCli, toy_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    done = cli("train", toy_config, "--num_processes", "2")
    assert done.returncode == 2
    assert "--num_processes: num_processes is 2, but the launcher has started 3" in done.stderr


@pytest.mark.parametrize("kind", ["DEEPSPEED"])
def test_what_accelerate_shards_is_refused(
    cli: RunCli, toy_config: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    done = cli("train", toy_config)
    assert (done.returncode, f"accelerate is set up for {kind}" in done.stderr) == (2, True)


def test_wrong_options_are_said_once_before_anything_is_started(cli: RunCli, toy_config: Path) -> None:
    done = cli("train", toy_config, "--num_processes", "2", "--netwrok_dim", "8")
    assert (done.returncode, done.stderr.count("unknown option")) == (2, 1)


def test_a_bad_picture_in_one_process_ends_both_with_one_message(
    cli: RunCli, toy_config: Path, pictures: Path, out: Path
) -> None:
    path = pictures / "3.png"
    path.write_bytes(path.read_bytes()[:-40])
    done = cli("train", toy_config, "--num_processes", "2")
    assert done.returncode == 2
    assert done.stderr.count("3.png") == 1
    assert "Traceback" not in done.stderr
    assert not list(out.glob("*.safetensors"))


FAILING = """
import os
from loracore import LoracoreError, hookimpl
LORACORE_API = 1

@hookimpl
def step_done(step):
    if os.environ["RANK"] == "1" and step == 2:
        {what}
"""


@pytest.fixture
def failing(toy_site: Path) -> Path:
    """A place for a plugin that fails in the second process."""
    folder = toy_site / "failing-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[loracore.extensions]\nfailing = failing\n", encoding="utf-8")
    return toy_site / "failing.py"


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("raise LoracoreError('the disk is on fire', fix='run')", 2, "error: the disk is on fire (run)"),
        ("raise KeyError('lost')", 1, "KeyError: 'lost'"),
        ("os._exit(3)", 3, "process 1 of 2 ended with exit code 3"),
    ],
)
def test_one_process_that_fails_ends_the_other(
    cli: RunCli, toy_config: Path, failing: Path, what: str, code: int, said: str
) -> None:
    failing.write_text(FAILING.format(what=what), encoding="utf-8")
    done = cli("train", toy_config, "--num_processes", "2", "--extensions", "failing")
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Gloo" not in done.stderr.partition("Traceback")[0]  # the reason, not the connection that it broke


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM")
def test_a_signal_reaches_every_process_and_is_waited_for(toy_config: Path, out: Path) -> None:
    words = ("--num_processes", "2", "--max_train_steps", "100000")
    command = [sys.executable, "-m", "loracore", "train", str(toy_config), *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("*.resolved.toml")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert list(out.glob("*.safetensors"))
    assert "100000" in (out / "toy.resolved.toml").read_text("utf-8")


def test_the_resolved_configuration_makes_the_same_run_again(cli: RunCli, toy_config: Path, out: Path) -> None:
    text = "".join(line for line in toy_config.read_text("utf-8").splitlines(keepends=True) if "seed" not in line)
    toy_config.write_text(text, encoding="utf-8")
    assert cli("train", toy_config, "--huggingface_token", "hf_secret", "--num_processes", "2").returncode == 0
    saved = out / "toy.resolved.toml"
    again = cli("train", saved, "--output_name", "again")
    assert again.returncode == 0, again.stderr
    assert difference(out, "toy", "again") == 0.0
    assert isinstance(tomli.loads(saved.read_text("utf-8"))["seed"], int)
    assert not [path for path in out.rglob("*") if path.is_file() and b"hf_secret" in path.read_bytes()]


READING = """
import json, os, sys
from loracore import hookimpl
LORACORE_API = 1

@hookimpl
def run_started(run):
    token = dict(run.config)["huggingface_token"]
    with open(f"seen{run.processes.index}.json", "w") as file:
        json.dump([token, sys.argv, sorted(os.environ.values())], file)
"""


def test_secrets_reach_the_processes_beside_their_command_lines(
    cli: RunCli, toy_config: Path, failing: Path, tmp_path: Path
) -> None:
    failing.write_text(READING, encoding="utf-8")
    words = ("--num_processes", "2", "--max_train_steps", "1", "--extensions", "failing")
    done = cli("train", toy_config, "--huggingface_token", "hf_secret", *words)
    assert done.returncode == 0, done.stderr
    for index in range(2):
        token, *elsewhere = json.loads((tmp_path / "cwd" / f"seen{index}.json").read_text("utf-8"))
        assert (token, "hf_secret" in json.dumps(elsewhere)) == ("hf_secret", False)
