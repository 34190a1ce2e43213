"""N steps = k steps + resume + N-k steps, bit for bit: every built-in optimizer, every feature that keeps something."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest

from loracore.config.updates.optimizer_names import NAMED
from tests.reliability.conftest import Report
from tests.resumed_runs import assert_resumes_exactly
from tests.toy_runs import TrainToy

#: An epoch of the toy has 4 batches: with 3 in a step, the second step of each epoch is short.
ACCUMULATED = ("--gradient_accumulation_steps", "3")
STOPS = {
    "in an epoch": ([2], ()),
    "at an epoch's end": ([4], ()),
    "twice": ([1, 5], ()),
    "behind a short window": ([2], ACCUMULATED),
    "before a short window": ([3], ACCUMULATED),
}
PROMPTS = "PROMPTS"  # stands for a file of them
FEATURES = {
    "cosine": ("--lr_scheduler", "cosine", "--lr_warmup_steps", "3"),
    "EMA": ("--use_ema", "--ema_decay", "0.9"),
    "dropout": ("--network_dropout", "0.3", "--network_args", "rank_dropout=0.2", "module_dropout=0.2"),
    "LoRA+": ("--network_args", "loraplus_lr_ratio=4"),
    "scale_weight_norms": ("--scale_weight_norms", "0.05"),
    "fp16 loss scale": ("--mixed_precision", "fp16"),
    "bf16 adapters": ("--mixed_precision", "bf16", "--full_bf16"),
    "fused backward pass": (
        *("--fused_backward_pass", "--optimizer_type", "Adafactor"),
        *("--optimizer_args", "relative_step=False", "scale_parameter=False", "warmup_init=False"),
    ),
    "text encoders": ("--no_network_train_unet_only",),
    "captions drawn anew": ("--shuffle_caption", "--caption_tag_dropout_rate", "0.3", "--caption_dropout_rate", "0.2"),
    "crops drawn anew": ("--random_crop", "--no_cache_latents"),
    "timesteps": ("--min_timestep", "100", "--max_timestep", "900"),
    "validation": (  # what is waited for comes true at the last step
        *("--validation_split", "0.34", "--validation_seed", "3", "--validate_every_n_steps", "1", "--keep_best", "2"),
        *("--early_stopping_patience", "5", "--early_stopping_threshold", "1000"),
    ),
    "previews": ("--sample_prompts", PROMPTS, "--sample_every_n_steps", "1", "--sample_at_first"),
}
#: A fused backward pass uses each gradient at once: nothing accumulates.
REFUSED = frozenset(product(["fused backward pass"], ["behind a short window", "before a short window"]))
SHORT = ("EMA", "fused backward pass")


def check(train_toy: TrainToy, folder: Path, stop: str, flags: tuple[str, ...]) -> None:
    stops, more = STOPS[stop]
    prompts = folder / "prompts.txt"
    prompts.write_text("a red square --w 64 --h 64 --s 1", encoding="utf-8")
    given = [str(prompts) if word == PROMPTS else word for word in (*flags, *more)]
    assert_resumes_exactly(train_toy, folder, stops, given)


@pytest.mark.slow
@pytest.mark.parametrize("feature", SHORT)
def test_features_resume_exactly(train_toy: TrainToy, tmp_path: Path, feature: str) -> None:
    check(train_toy, tmp_path, "in an epoch", FEATURES[feature])


@pytest.mark.parametrize("optimizer", ["AdamW8bit", "AdamWScheduleFree"])
def test_optimizers_resume_exactly(train_toy: TrainToy, tmp_path: Path, optimizer: str) -> None:
    check(train_toy, tmp_path, "in an epoch", flags_of(optimizer))


@pytest.mark.reliability
@pytest.mark.parametrize(("feature", "stop"), [pair for pair in product(FEATURES, STOPS) if pair not in REFUSED])
def test_every_feature_resumes_exactly(
    train_toy: TrainToy, tmp_path: Path, feature: str, stop: str, report: Report
) -> None:
    check(train_toy, tmp_path, stop, FEATURES[feature])
    report(f"resumed exactly: {feature}, {stop}")


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")  # they keep their states all the same
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("optimizer", [one.name for one in NAMED])
def test_every_optimizer_resumes_exactly(
    train_toy: TrainToy, tmp_path: Path, optimizer: str, stop: str, report: Report
) -> None:
    check(train_toy, tmp_path, stop, flags_of(optimizer))
    report(f"resumed exactly: {optimizer}, {stop}")


def flags_of(optimizer: str) -> tuple[str, ...]:
    """Return what chooses an optimizer; skips where its package is not installed."""
    named = next(one for one in NAMED if one.name == optimizer)
    if find_spec(named.module.partition(".")[0]) is None:
        pytest.skip(f"{named.package} is not installed")
    return ("--optimizer_type", optimizer)
