"""The comparison with other trainers: its arithmetic, and our own side of it; no peer is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.peers import ours
from benchmarks.peers.__main__ import parser, rivals, undriven, unmeasured
from benchmarks.peers.architectures import architectures
from benchmarks.peers.blocks import Block, marked_steps, middle, ratio, read_block
from benchmarks.peers.comparing import Comparison
from benchmarks.peers.gate import Moved, furthest, gate, moved
from benchmarks.peers.page import table
from benchmarks.peers.sides import ours as our_side
from benchmarks.peers.weights import empty_denoiser
from benchmarks.peers.work import Size, Work, write_work

STEPS = 3
SAME = Moved(cosine=1.0, length=1.0)
Run = Callable[[Work], Path]


def block(*seconds: float, losses: tuple[float, ...] = (1.0, 2.0)) -> Block:
    return Block(seconds, seconds, (), losses, (), 3.0, 4.0, 2**30, None)


def test_one_slow_step_or_block_moves_no_median() -> None:
    assert middle([[1, 1, 9], [1, 1, 1], [5, 5, 5]]) == 1


def test_half_the_time_is_twice_the_rate_and_pairs_show_the_spread() -> None:
    found = ratio([[1.0], [1.0], [2.0]], [[2.0], [3.0], [2.0]])
    assert (found.middle, found.lowest, found.highest) == (2, 1, 3)


def test_a_warm_up_is_not_measured(tmp_path: Path) -> None:
    told = {"moments": [[10, 1], [12, 2], [13, 2.5], [15, 3]], "losses": [4, 3, 2, 1], "order": list("abcd")}
    told |= {"device": [], "first": 110, "peak": 5, "reserved": None}
    (tmp_path / "record.json").write_text(json.dumps(told), encoding="utf-8")
    found = read_block(tmp_path / "record.json", started=100, warm_up=2)
    assert (found.clock, found.processor) == ((1, 2), (0.5, 0.5))
    assert (found.first, found.last) == (10, 15)
    assert found.losses == (4, 3, 2, 1)


def test_the_same_losses_and_gradients_pass() -> None:
    assert gate([1.0, 0.5], [1.0, 0.5], SAME).passed


@pytest.mark.parametrize(
    ("theirs", "gradient"),
    [
        ((1.02, 0.5), SAME),
        ((1.004, 0.502), SAME),
        ((1.0, 0.5), Moved(cosine=0.99, length=1.0)),
        ((1.0, 0.5), Moved(cosine=1.0, length=1.02)),
        ((1.0, 0.5), Moved(cosine=1.0, length=math.nan)),
    ],
    ids=["one step", "mean", "direction", "length", "nothing moves"],
)
def test_other_work_does_not_pass(theirs: tuple[float, float], gradient: Moved) -> None:
    assert not gate([1.0, 0.5], theirs, gradient).passed


def test_a_pair_that_has_not_passed_is_not_hidden_by_one_that_has() -> None:
    far_but_alike = gate([1.0, 1.0], [1.009, 0.991], SAME)
    near_but_other = gate([1.0, 1.0], [1.005, 1.005], SAME)  # by their mean
    assert far_but_alike.step > near_but_other.step
    assert furthest([near_but_other, far_but_alike]) == near_but_other


def test_gradients_are_compared_by_their_direction_and_their_length() -> None:
    start = {"a.lora_up.weight": torch.zeros(2), "a.alpha": torch.tensor(1.0)}
    along, across = ({"a.lora_up.weight": torch.tensor(way)} for way in ([2.0, 0.0], [0.0, 1.0]))
    found = moved(start, {"a.lora_up.weight": torch.tensor([1.0, 0.0])}, along)
    assert (found.cosine, found.length) == pytest.approx((1, 2))
    assert moved(start, along, across).cosine == pytest.approx(0)


def test_sides_that_train_other_adapters_are_told() -> None:
    start = {"a.lora_up.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match="other adapters"):
        moved(start, start, {})
    with pytest.raises(ValueError, match="other adapters"):
        moved(start, start, {**start, "b.lora_up.weight": torch.zeros(2)})


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--steps 20 --warm_up 20", "leaves nothing to measure"),
        ("--warm_up 0", "at least 1"),
        ("--pairs 0", "at least 1"),
        ("--device cuda --steps 38 --warm_up 25", "two marks"),
    ],
)
def test_blocks_that_would_measure_nothing_are_refused_at_once(words: str, why: str) -> None:
    assert why in (unmeasured(parser().parse_args(["--out", "here", *words.split()])) or "")


def test_a_peer_without_a_script_for_the_architecture_is_refused_at_once() -> None:
    words = ["--out", "here", "--sd_scripts", "there", "--diffusers", "there"]
    assert undriven(parser().parse_args(words)) is None
    assert "diffusers" in (undriven(parser().parse_args([*words, "--arch", "sd3-medium"])) or "")


def test_a_deep_model_is_small_and_has_all_layers() -> None:
    sdxl = architectures()["sdxl"]
    deep = empty_denoiser(replace(sdxl, small=sdxl.deep), small=True)
    assert len(list(sdxl.targets(deep))) == 722
    assert sum(one.numel() for one in deep.parameters()) < 1e8
    words = ["--out", "x", "--size", "deep", "--arch", "sd3-medium"]
    assert "deep" in (undriven(parser().parse_args(words)) or "")


def test_peers_are_those_whose_checkouts_are_given() -> None:
    words = ["--out", "here", "--diffusers", "there", "--diffusers_words", "--rank 4"]
    (found,) = rivals(parser().parse_args(words))
    assert (found.side.name, found.words) == ("diffusers", ("--rank", "4"))
    assert rivals(parser().parse_args(["--out", "here"])) == []


@pytest.mark.parametrize("words", ["", "--steps 2 --warm_up 1", "--device cuda --steps 40 --warm_up 25"])
def test_blocks_that_measure_something_are_not(words: str) -> None:
    assert unmeasured(parser().parse_args(["--out", "here", *words.split()])) is None


def test_marks_that_are_counted_are_those_that_are_read(tmp_path: Path) -> None:
    told = {"moments": [[n, n] for n in range(40)], "losses": [1], "order": [], "first": 1, "peak": 1, "reserved": 1}
    (tmp_path / "record.json").write_text(json.dumps({**told, "device": [0.1, 0.2, 0.3]}), encoding="utf-8")
    found = read_block(tmp_path / "record.json", started=0, warm_up=25)
    assert len(found.device) == marked_steps(40, 25) == 1


def test_the_page_says_when_it_was_not_the_same_work() -> None:
    compared = Comparison("sd-scripts", gate([1.0], [2.0], SAME), (block(1.0),), (block(1.5),), ("load 1.0",))
    assert "| 1000.00 | 1500.00 | 1.50 (1.50 to 1.50) |" in table(compared)
    assert "not the same work" in table(compared)


@pytest.fixture(scope="module", params=["sdxl", "sd3.5-medium"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("work")
    size = Size(small=True, side=64, pictures=2)
    found = Work(folder, architectures()[request.param], size, 2, STEPS, rank=4, checkpointing=False, device="cpu")
    write_work(found)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def train(work: Work) -> Path:
        words = list(our_side().words(work, tmp_path))
        assert ours.train(work.draws, tmp_path / "record.json", words) == 0
        return tmp_path / "lora.safetensors"

    return train


def test_our_side_trains_on_what_the_files_hold(
    work: Work, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run(work)
    found = read_block(tmp_path / "record.json", started=0, warm_up=1)
    assert len(found.losses) == STEPS == len(found.clock) + 1
    assert sorted(found.order[:4]) == ["0000", "0000", "0001", "0001"]
    assert set(load_file(work.adapters)) == set(load_file(trained))
    said = capsys.readouterr().err
    assert "2 latents are those of .npz files" in said  # nothing was encoded
    assert "2 captions are those of .npz files" in said


def test_our_sides_gradient_is_what_its_adapters_move_by(work: Work, run: Run) -> None:
    start, moved = load_file(work.adapters), load_file(run(replace(work, steps=1, gradient=True)))
    ways = {name: tensor - start[name] for name, tensor in moved.items() if "lora" in name and "alpha" not in name}
    assert all(way.abs().max() > 0 for way in ways.values())
