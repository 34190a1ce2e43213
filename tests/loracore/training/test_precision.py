from __future__ import annotations

import math
from collections.abc import Generator
from itertools import pairwise

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loracore import ConfigError, LoracoreError, Prediction, hookimpl
from loracore.training.run import Run
from tests.loracore.training.conftest import Trained
from tests.toy_runs import TrainToy

BF16 = ("--mixed_precision", "bf16", "--full_bf16")
FP16 = ("--mixed_precision", "fp16", "--full_fp16", "--optimizer_type", "AdamW8bit")
ADAFACTOR = ("--optimizer_type", "Adafactor")
FIXED = ("--optimizer_args", "relative_step=False", "scale_parameter=False", "warmup_init=False")


class Dtypes:
    """Notes in what a run keeps parameters, and the optimizer's tensors beside them."""

    def __init__(self) -> None:
        self.found: set[torch.dtype] = set()

    @hookimpl
    def step_done(self, run: Run) -> None:
        self.found |= {one.dtype for one in run.network.modules.parameters()}
        states = run.moving.optimizer.state.values()
        tensors = [one for state in states for one in state.values() if isinstance(one, torch.Tensor)]
        self.found |= {one.dtype for one in tensors if one.ndim}  # steps are counted in float32


@pytest.mark.parametrize("arguments", [(), ("--scale_weight_norms", "0.001"), ("--gradient_checkpointing",)])
@pytest.mark.parametrize(("words", "dtype"), [(BF16, torch.bfloat16), (FP16, torch.float16)])
def test_all_is_trained_and_saved_in_half_precision(
    trained: Trained, words: tuple[str, ...], dtype: torch.dtype, arguments: tuple[str, ...]
) -> None:
    outcome = trained(*words, *arguments)
    assert {one.dtype for one in outcome.tensors.values()} == {dtype}
    assert outcome.moved
    assert all(one.isfinite().all() for one in outcome.tensors.values())


def test_the_optimizer_keeps_its_state_in_bf16(train_toy: TrainToy) -> None:
    dtypes = Dtypes()
    train_toy(*BF16, plugin=dtypes)
    assert dtypes.found == {torch.bfloat16}


def test_adafactor_trains_halves_too(trained: Trained) -> None:
    outcome = trained("--mixed_precision", "fp16", "--full_fp16", *ADAFACTOR, *FIXED)
    assert {one.dtype for one in outcome.tensors.values()} == {torch.float16}
    assert outcome.moved


@pytest.mark.parametrize(("precision", "dtype"), [("float", torch.float32), ("fp16", torch.float16)])
def test_save_precision_wins_over_that_of_training(train_toy: TrainToy, precision: str, dtype: torch.dtype) -> None:
    tensors = load_file(train_toy(*BF16, "--save_precision", precision))
    assert {one.dtype for one in tensors.values()} == {dtype}


def test_the_first_adapters_are_those_of_float32_rounded(trained: Trained) -> None:
    still = ("--learning_rate", "1e-30", "--mixed_precision", "bf16")
    full, half = trained(*still), trained(*still, "--full_bf16")
    downs = [name for name in half.tensors if "lora_down" in name]
    assert all(torch.equal(full.tensors[name].bfloat16(), half.tensors[name]) for name in downs)
    assert downs


def test_steps_are_close_to_those_of_float32(trained: Trained) -> None:
    full, half = trained("--mixed_precision", "bf16"), trained(*BF16)
    assert half.watch.losses == pytest.approx(full.watch.losses, rel=0.02)  # bf16 has 8 bits


class Loud:
    """Makes gradients large; notes the adapters after every step."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.norms: list[float] = []
        self.ups: list[torch.Tensor] = []

    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        return Prediction(prediction.output * self.factor, prediction.target)

    @hookimpl
    def step_done(self, run: Run, grad_norm: torch.Tensor) -> None:
        self.norms.append(grad_norm.item())
        self.ups.append(torch.cat([one.detach().flatten().clone() for one in run.network.modules.parameters()]))


def test_an_overflow_in_fp16_is_seen_and_never_applied(train_toy: TrainToy) -> None:
    loud = Loud(20)  # gradients of some hundreds times the first scale are far above 65504
    train_toy(*FP16, "--max_train_steps", "19", plugin=loud)
    good = [math.isfinite(norm) for norm in loud.norms]
    moved = [not torch.equal(one, other) for one, other in pairwise(loud.ups)]
    assert not good[0]
    assert good[-1]
    assert moved == good[1:]


def test_a_run_whose_every_step_overflows_ends_with_an_error(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="no step could be applied"):
        train_toy(*FP16, "--max_train_steps", "3", plugin=Loud(1e4))


def test_the_header_says_how_it_was_trained(train_toy: TrainToy) -> None:
    with safe_open(train_toy(*FP16), "pt") as file:
        assert (file.metadata()["ss_full_fp16"], file.metadata()["ss_lowram"]) == ("True", "False")


@pytest.mark.parametrize("words", [(), FIXED])
def test_a_fused_run_is_bit_by_bit_the_plain_one(trained: Trained, words: tuple[str, ...]) -> None:
    common = (*ADAFACTOR, *words, "--max_grad_norm", "0", "--gradient_checkpointing", "--scale_weight_norms", "0.5")
    fused, plain = trained(*common, "--fused_backward_pass"), trained(*common)
    assert fused.equals(plain)
    assert fused.moved
    assert fused.watch.norms == pytest.approx(plain.watch.norms)


def test_a_fused_run_in_half_precision_keeps_dtype_and_moves(trained: Trained) -> None:
    outcome = trained(*ADAFACTOR, *FIXED, *BF16, "--fused_backward_pass", "--no_network_train_unet_only")
    assert {one.dtype for one in outcome.tensors.values()} == {torch.bfloat16}
    assert outcome.moved
    assert any("each tensor's own gradient" in note for note in outcome.watch.notes)


def test_relative_steps_stand_in_the_header(train_toy: TrainToy) -> None:
    with safe_open(train_toy(*ADAFACTOR, "--optimizer_args", "clip_threshold=1.0"), "pt") as file:
        said = file.metadata()
    assert said["ss_optimizer"] == "transformers.optimization.Adafactor(clip_threshold=1.0,relative_step=True)"
    assert said["ss_learning_rate"] == said["ss_unet_lr"] == said["ss_text_encoder_lr"] == "None"


def test_wrong_arguments_of_adafactor_are_told_before_anything_is_encoded(train_toy: TrainToy) -> None:
    with pytest.raises(ConfigError, match="takes no argument 'decay'"):
        train_toy(*ADAFACTOR, "--optimizer_args", "decay=1")
