"""Loss curves held against the plain way: a few real steps of our trainer, and the gate's arithmetic."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from benchmarks.loss_curves.__main__ import deep_enough, held_together, parser, work_of
from benchmarks.loss_curves.apart import Apart, Curve, Reference
from benchmarks.loss_curves.page import Found, Row, write_page
from benchmarks.loss_curves.plain import plainly
from benchmarks.loss_curves.running import PLAIN, Runs, run_words
from benchmarks.loss_curves.settings import EXACT, ROUNDED, Setting, settings
from benchmarks.peers import ours
from benchmarks.peers.architectures import architectures
from benchmarks.peers.gate import Gate, Moved
from benchmarks.peers.weights import empty_denoiser
from benchmarks.peers.work import write_work
from loracore.diffusion.attention.joint import GroupedJointAttention
from loracore.memory.block_swap import SLOTS
from loracore.networks import grouped
from loracore.training.updates.flat_adam import FlatAdam

STEPS = 3

#: What the plain way must not call, one for each of its patches: the model has joint attention.
JOINED: Sequence[tuple[Any, str]] = (
    (grouped, "low_rank_linears"),
    (GroupedJointAttention, "__call__"),
    (FlatAdam, "step"),
)


def here(module: str, words: Sequence[str], log: Path) -> int:
    """Do in this process what a process of its own would: importing torch takes longer than the steps."""
    with (
        log.open("w", encoding="utf-8") as said,
        redirect_stderr(said),
        plainly() if module == PLAIN else nullcontext(),
    ):
        told = json.loads(Path(words[0]).read_text(encoding="utf-8"))
        return ours.train(Path(told["draws"]), Path(told["record"]), words[1:])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("curves")
    words = ["--out", "nowhere", "--arch", "sd3.5-medium", "--steps", str(STEPS)]
    work = work_of(parser().parse_args(words), folder / "work")
    work.folder.mkdir()
    write_work(work)
    return Runs(work, folder, here)


@pytest.fixture(scope="module")
def reference(runs: Runs) -> Reference:
    return runs.reference()


def apart(step: float = 0.0, mean: float = 0.0, share: float = 0.0, cosine: float = 1.0) -> Apart:
    return Apart(Gate(step, mean, Moved(cosine, 1.0)), share)


def setting(name: str) -> Setting:
    return next(one for one in settings("cpu") if one.name.startswith(name))


@pytest.mark.parametrize("name", ["grouped", "blocks_to_swap"])
def test_the_same_arithmetic_loses_the_same(runs: Runs, reference: Reference, name: str) -> None:
    found = reference.apart(runs.curve(setting(name)))
    assert EXACT.hold(found), found
    assert len(reference.plain.losses) == STEPS


def test_other_weights_are_not_taken_for_the_same_arithmetic(runs: Runs, reference: Reference) -> None:
    found = reference.apart(runs.curve(setting("int8")))
    assert ROUNDED.hold(found), found
    assert not EXACT.hold(found), found


def test_a_setting_without_effect_and_one_that_fails_are_told(runs: Runs, reference: Reference) -> None:
    told: list[str] = []
    unknown = Setting("unknown", EXACT, ("--no_such_option",))
    silent = Setting("silent", EXACT, says="what no run ever says")
    *_, found = held_together(runs, reference, [setting("opt_channels_last"), unknown, silent], told.append)
    assert found.idle == ("opt_channels_last",)
    assert found.failed == ("unknown", "silent")
    assert not found.passed
    assert "no_such_option" in told[0]


@pytest.mark.parametrize("more", ["", "torch_compile: the run goes on without it: RuntimeError: no compiler\n"])
def test_what_was_not_compiled_is_no_curve_of_compiled_blocks(runs: Runs, tmp_path: Path, more: str) -> None:
    def given_up(_: str, __: Sequence[str], log: Path) -> int:
        log.write_text(f"torch_compile: 1 graphs for 2 blocks\n{more}" if more else "nothing", encoding="utf-8")
        (log.parent / "record.json").write_text("{}", encoding="utf-8")
        return 0

    with pytest.raises(RuntimeError, match="no effect"):
        replace(runs, folder=tmp_path, start=given_up).curve(setting("torch_compile"))


def refusing(owner: Any, name: str) -> Any:
    """Patch what must not be called."""

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError(f"called: {owner.__name__}.{name}")

    return patch.object(owner, name, refused)


def test_the_plain_way_joins_nothing(runs: Runs, tmp_path: Path) -> None:
    told = tmp_path / "work.json"
    told.write_text(json.dumps({"draws": str(runs.work.draws), "record": str(tmp_path / "record.json")}))
    with ExitStack() as all_of_them:
        for owner, name in JOINED:
            words = [str(told), *run_words(runs.work, setting("grouped"), tmp_path / name)]
            # As it trains otherwise, each is called: what is refused below is what the plain way goes round.
            with refusing(owner, name), pytest.raises(AssertionError, match=rf"called: .*{name}"):
                here("", words, tmp_path / "log.txt")
        for owner, name in JOINED:
            all_of_them.enter_context(refusing(owner, name))
        words = [str(told), *run_words(runs.work, setting("grouped"), tmp_path / "plain")]
        assert here(PLAIN, words, tmp_path / "log.txt") == 0


@pytest.mark.parametrize(
    "found",
    [apart(step=2e-4), apart(mean=2e-5), apart(share=0.3), apart(cosine=0.9998), apart(mean=math.nan)],
    ids=["a step", "mean", "seeds", "direction", "no number"],
)
def test_what_is_too_far_apart_misses_its_gate(found: Apart) -> None:
    assert EXACT.hold(apart())
    assert not EXACT.hold(found)


def test_a_direction_is_only_told_where_weights_are_rounded() -> None:
    assert ROUNDED.hold(apart(cosine=0.5))
    assert not ROUNDED.hold(apart(step=0.02))


def test_differences_are_a_share_of_those_of_other_draws() -> None:
    tensors = {"a.lora_up.weight": torch.ones(1)}
    plain, other, found = (Curve(losses, tensors) for losses in ((1.0, 2.0), (2.0, 1.0), (1.25, 1.75)))
    start = {"a.lora_up.weight": torch.zeros(1)}
    assert Reference(plain, other, start).apart(found) == Apart(Gate(0.25, 0.0, Moved(1.0, 1.0)), 0.25)


@pytest.mark.parametrize("arch", ["sdxl", "sd3.5-medium"])
def test_every_small_model_has_blocks_that_swap(arch: str) -> None:
    architecture = deep_enough(architectures()[arch])
    blocks = list(architecture.blocks(empty_denoiser(architecture, small=True)))
    assert len(blocks) >= 2 + SLOTS


def test_a_card_has_recordings_as_well() -> None:
    names = {one.name for one in settings("cuda")} - {one.name for one in settings("cpu")}
    assert names == {"cuda_graphs", "cuda_graphs bf16", "torch_compile bf16"}


def test_the_page_says_what_was_missed_and_draws_it(tmp_path: Path) -> None:
    curve = Curve((1.0, math.nan), {})
    rows = [Row(Setting("near", EXACT), curve, apart()), Row(Setting("far", EXACT), curve, apart(step=0.5))]
    page = write_page(tmp_path, ["a title"], Found(Curve((1.0, 1.0), {}), rows, ["idle"], ["broken"]))
    assert "| near | 0.0e+00 (1e-04) | 0.0e+00 (1e-05) | 0.0e+00 (0.25) | 1.000000 (0.9999) | inside |" in page
    assert "(0.25) | 1.000000 (0.9999) | **missed** |" in page
    assert "Without effect on this model: idle." in page
    assert [row["passed"] for row in json.loads((tmp_path / "loss_curves.json").read_text())["rows"]] == [True, False]
    assert (tmp_path / "loss_curves.svg").read_text().count("<polyline") == 3
