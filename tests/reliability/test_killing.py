"""kill -9 at random moments: every resumed run ends as one that nobody killed, and nothing is ever half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loracore.training.results.outputs import ResultFiles
from loracore.training.state.folder import read_head, read_state, states_in
from tests.reliability.conftest import Report
from tests.reliability.watching import Watcher
from tests.resumed_runs import assert_same_state
from tests.toy_runs import TrainToy

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")

#: Files and states every few steps, older ones removed: most moments lie in some save.
SAVING = (
    *("--save_state", "--save_every_n_steps", "2", "--save_last_n_steps", "4"),
    *("--save_every_n_epochs", "1", "--save_last_n_epochs", "1", "--use_ema"),
)
STEPS_A_LIFE = 8  # most behind the newest state before a process is killed, but for those of the last moment
LAST_MOMENT = 6
STARTING = 0.15  # share of the kills that come at any moment since the process began


class Killing:
    """Starts one run again and again in processes of their own, and kills them."""

    def __init__(self, config: Path, folder: Path, steps: int, seed: int) -> None:
        self.folder, self._steps = folder, steps
        self._names = ResultFiles(folder, "toy", ".safetensors").states
        self._words = [str(config), *SAVING, "--max_train_steps", str(steps), "--output_dir", str(folder)]
        self._words += ["--resume", "latest", "--overwrite"]
        self._rng = random.Random(seed)  # noqa: S311  # moments, not secrets
        self.kills = 0
        self.lives = 0

    def step(self) -> int:
        """The step of the latest state; every state that is there is read on the way."""
        found = states_in(self._names)
        for path in found:
            read_state(path)
        return max((read_head(path).step for path in found), default=0)

    def live(self, *, kill: bool) -> int | None:
        """Run one process, and kill it, or wait for its end; return its exit code."""
        before = self._newest()
        with (self.folder.parent / f"life-{self.lives:03d}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "loracore", "train", *self._words], stdout=log, stderr=log
            )
            self.lives += 1
            try:
                if kill:
                    self._wait(process, before)
                    process.send_signal(signal.SIGKILL)
                return process.wait(timeout=300)
            finally:
                process.kill()

    def _wait(self, process: subprocess.Popen[bytes], before: int) -> None:
        """Wait for a random moment: of the start, or some steps behind the first."""
        if self._rng.random() < STARTING:
            time.sleep(self._rng.uniform(0, 3))
            return
        aim = before + self._rng.randrange(STEPS_A_LIFE)
        while process.poll() is None and self._newest() <= aim:
            time.sleep(0.001)
        time.sleep(self._rng.uniform(0, 0.03))

    def _newest(self) -> int:
        """The highest step that a name in the folder tells, read from nothing else."""
        names = [path.name for path in self.folder.glob("toy-step*-state")] if self.folder.exists() else []
        return max((int(name.split("step")[1][:8]) for name in names), default=0)


def survive(train_toy: TrainToy, toy_config: Path, tmp_path: Path, kills: int) -> str:
    """Kill a run so many times, let it end, and compare; return the figures."""
    steps = kills * (STEPS_A_LIFE + LAST_MOMENT)  # no life reaches the end
    whole = train_toy(*SAVING, "--max_train_steps", str(steps), "--output_dir", str(tmp_path / "whole"))
    killing = Killing(toy_config, tmp_path / "killed", steps, seed=6)
    reached, lost = [0], 0
    watcher = Watcher(killing.folder)
    with watcher.watching():
        while killing.kills < kills:
            code = killing.live(kill=True)
            assert code in {0, -signal.SIGKILL}, (tmp_path / f"life-{killing.lives - 1:03d}.log").read_text()[-3000:]
            if code == 0:
                break  # it came to its end first
            killing.kills += 1
            reached.append(killing.step())
            lost += reached[-1] < reached[-2]
        assert killing.live(kill=False) == 0
    assert watcher.unreadable == []
    assert lost == 0  # no state was ever lost
    assert_same_state(whole.with_name("toy-state"), killing.folder / "toy-state")
    assert (killing.folder / "toy.safetensors").exists()
    leftovers = [path.name for path in killing.folder.iterdir() if ".tmp-" in path.name or ".aside" in path.name]
    assert leftovers == []
    return (
        f"{killing.kills} kills over {steps} steps, {len(set(reached))} different states resumed, "
        f"{watcher.read} readings meanwhile, 0 unreadable, final state equal bit for bit"
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_three_kills_change_nothing(train_toy: TrainToy, toy_config: Path, tmp_path: Path) -> None:
    assert survive(train_toy, toy_config, tmp_path, kills=3).startswith("3 kills")


@pytest.mark.reliability
@pytest.mark.timeout(3600)
def test_fifty_kills_change_nothing(train_toy: TrainToy, toy_config: Path, tmp_path: Path, report: Report) -> None:
    figures = survive(train_toy, toy_config, tmp_path, kills=50)
    report(figures)
    assert figures.startswith("50 kills")
