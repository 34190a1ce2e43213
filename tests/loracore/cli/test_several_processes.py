"""What two processes share and what each does, against what one does: real processes on the CPU, over gloo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from safetensors.torch import load_file

from loracore.testing.installing import install_metadata
from tests.conftest import RunCli

pytestmark = pytest.mark.timeout(300)

#: Sums over samples are taken in another order, and AdamW's first steps follow the sign of tiny gradients.
NOISE = 1e-4
#: With one sample for each process, the second has none of the last batch of a bucket of three.
TWO = ("--num_processes", "2", "--train_batch_size", "1")

Train = Callable[..., CompletedProcess[str]]


@pytest.fixture
def train(cli: RunCli, toy_config: Path, tmp_path: Path) -> Train:
    """Train the toy under a name, its cache in a folder of that name."""

    def run(name: str, *words: str) -> CompletedProcess[str]:
        cache = ("--cache_dir", tmp_path / f"{name}-cache")
        return cli("train", toy_config, "--output_name", name, *cache, *words)

    return run


def events(folder: Path, name: str, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "out" / f"{name}-log" / "events.jsonl").read_text("utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def values(folder: Path, name: str, kind: str, key: str) -> list[Any]:
    return [event[key] for event in events(folder, name, kind)]


def difference(one: Path, other: Path) -> float:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def plugin(site: Path, source: str) -> tuple[str, str]:
    """Install a plugin of one file; return the flags that register it."""
    install_metadata(site, "spoiling", "1.0", {"loracore.extensions": {"spoiling": "spoiling"}})
    (site / "spoiling.py").write_text(source, encoding="utf-8")
    return ("--extensions", "spoiling")


def test_two_processes_do_what_one_does(train: Train, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(f"{word} --d 1" for word in ("one", "two", "three")), "utf-8")
    words = (
        *("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk", "--use_ema", "--sample_at_first"),
        *("--sample_prompts", str(tmp_path / "prompts.txt"), "--sample_every_n_steps", "3"),
        *("--validation_split", "0.5", "--validate_every_n_steps", "2", "--keep_best", "1"),
    )
    one, two = train("one", "--train_batch_size", "2", *words), train("two", *TWO, *words)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    for kind in ("step", "validation"):
        assert values(tmp_path, "two", kind, "step") == values(tmp_path, "one", kind, "step")
        losses = values(tmp_path, "one", kind, "loss")
        assert values(tmp_path, "two", kind, "loss") == pytest.approx(losses, rel=1e-4)  # an older step's NOISE in it
    assert len(events(tmp_path, "two", "started")) == len(events(tmp_path, "two", "finished")) == 1
    out = tmp_path / "out"
    assert difference(out / "one.safetensors", out / "two.safetensors") < NOISE
    assert values(tmp_path, "two", "preview", "index") == [0, 1, 2] * 3
    assert all(Path(path).is_file() for path in values(tmp_path, "two", "preview", "path"))
    kept = {name: sorted(path.name[3:] for path in out.glob(f"{name}*.safetensors")) for name in ("one", "two")}
    assert kept["one"] == kept["two"] != [".safetensors"]
    assert (out / "two.report.html").is_file() == (out / "one.report.html").is_file()


#: Asks the launcher to stop in the middle of the run, and goes on when the signal has come back to this process.
STOPPING = """
import os, signal, time
from loracore import hookimpl
LORACORE_API = 1

@hookimpl
def step_done(run, step):
    if os.environ["RANK"] == "1" and step == 2:
        os.kill(os.getppid(), signal.SIGTERM)
        while not run.control.interrupted:
            time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.skipif("os.name != 'posix'", reason="Windows has no SIGTERM")
def test_a_stopped_run_goes_on_in_two_processes_bit_for_bit_and_in_one(
    train: Train, toy_site: Path, tmp_path: Path
) -> None:
    whole = train("whole", *TWO, "--use_ema")
    stopped = train("run", *TWO, "--use_ema", *plugin(toy_site, STOPPING))
    assert (whole.returncode, stopped.returncode) == (0, 130), whole.stderr + stopped.stderr
    (state,) = (tmp_path / "out").glob("run-step*-state")
    (toy_site / "spoiling.py").write_text("LORACORE_API = 1", encoding="utf-8")  # a resumed run has the same plugins
    resumed = ("--use_ema", "--resume", str(state), "--extensions", "spoiling")
    two, one = train("two", *TWO, *resumed), train("one", "--train_batch_size", "2", *resumed)
    assert (two.returncode, one.returncode) == (0, 0), two.stderr + one.stderr
    out = tmp_path / "out"
    assert difference(out / "whole.safetensors", out / "two.safetensors") == 0.0
    assert difference(out / "whole.safetensors", out / "one.safetensors") < NOISE


#: Makes the losses of a batch worthless that holds a certain picture.
SPOILING = """
import dataclasses
from loracore import hookimpl
LORACORE_API = 1

@hookimpl(wrapper=True)
def predict_noise(batch):
    prediction = yield
    spoiled = any({condition} for name in batch.batch.ids)
    return dataclasses.replace(prediction, output=prediction.output * float("nan")) if spoiled else prediction
"""


def test_a_spoiled_picture_of_one_process_is_skipped_by_both(train: Train, toy_site: Path, tmp_path: Path) -> None:
    spoiling = plugin(toy_site, SPOILING.format(condition="name.endswith('3.png')"))
    words = ("--max_train_epochs", "2", "--save_every_n_epochs", "1")
    one, two = train("one", "--train_batch_size", "2", *words, *spoiling), train("two", *TWO, *words, *spoiling)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    skipped = values(tmp_path, "two", "skipped", "step")
    assert len(skipped) == 2
    assert values(tmp_path, "one", "skipped", "step") == skipped
    assert [[Path(name).name for name in names] for names in values(tmp_path, "two", "skipped", "ids")] == [
        ["3.png"]
    ] * 2
    for name in ("{}.safetensors", "{}-000001.safetensors"):
        files = [tmp_path / "out" / name.format(run) for run in ("one", "two")]
        assert difference(*files) < NOISE


def test_too_many_skipped_steps_end_both_with_one_message(train: Train, toy_site: Path, tmp_path: Path) -> None:
    spoiling = plugin(toy_site, SPOILING.format(condition="__import__('os').environ['RANK'] == '1'"))
    done = train("two", "--num_processes", "2", "--max_skipped_steps", "2", *spoiling)
    assert done.returncode == 2
    assert done.stderr.count("not finite for 2 steps in a row") == 1
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("two*.safetensors"))
