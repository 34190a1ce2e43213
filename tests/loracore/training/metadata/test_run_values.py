from __future__ import annotations

import json

import pytest
from safetensors import safe_open

from loracore.training.metadata.run_values import FAMILIES
from tests.toy_runs import TrainToy


def test_the_header_has_the_runs_own_options_of_its_data(train_toy: TrainToy) -> None:
    options = {"prior_loss_weight": "0.5", "caption_dropout_rate": "0.25", "caption_dropout_every_n_epochs": "3"}
    options |= {"caption_tag_dropout_rate": "0.125", "resize_interpolation": "area"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with safe_open(train_toy(*words, "--fp8_base_unet", "--face_crop_aug_range", "2,4"), "pt") as file:
        said = file.metadata()
    assert {name: said[f"ss_{name}"] for name in options} == options
    assert (said["ss_fp8_base"], said["ss_fp8_base_unet"]) == ("False", "True")
    assert (said["ss_face_crop_aug_range"], said["ss_cache_latents"]) == ("(2.0, 4.0)", "True")


def test_options_of_other_architectures_are_written_as_unused(train_toy: TrainToy) -> None:
    with safe_open(train_toy(), "pt") as file:
        said = file.metadata()
    assert said["ss_noise_offset"] == "None"
    assert said["ss_debiased_estimation"] == "False"
    assert {f"ss_{name}" for name in FAMILIES} - {"ss_debiased_estimation_loss"} <= set(said)


@pytest.mark.parametrize("words", [(), ("--use_ema", "--ema_decay", "0.5")])
def test_our_own_keys_have_our_own_prefix(train_toy: TrainToy, words: tuple[str, ...]) -> None:
    with safe_open(train_toy(*words), "pt") as file:
        said = file.metadata()
    assert said["loracore_ema_decay"] == ("0.5" if words else "None")


def test_the_loss_is_told_in_the_fields_words(train_toy: TrainToy) -> None:
    with safe_open(
        train_toy("--loss_type", "huber", "--huber_schedule", "constant", "--huber_c", "0.25"), "pt"
    ) as file:
        said = file.metadata()
    assert [said[f"ss_{name}"] for name in ("loss_type", "huber_schedule", "huber_c", "huber_scale")] == [
        "huber",
        "constant",
        "0.25",
        "1.0",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--network_dropout", "0.25", "--conv_dim", "2"), {"conv_dim": 2, "dropout": 0.25}),
        (("--network_args", "dropout=0.5", "conv_dim=2"), {"conv_dim": 2, "dropout": 0.5}),
        (("--network_dropout", "0.25"), None),
    ],
)
def test_the_networks_arguments_have_the_dropout_as_in_the_field(
    train_toy: TrainToy, words: tuple[str, ...], expected: dict[str, float] | None
) -> None:
    with safe_open(train_toy(*words, "--max_train_steps", "1"), "pt") as file:
        said = file.metadata()
    found = said.get("ss_network_args")
    assert (None if found is None else json.loads(found)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--lr_scheduler", "cosine"), ("cosine", "0.01", "torch.optim.adamw.AdamW")),
        (
            ("--lr_scheduler_type", "StepLR", "--lr_scheduler_args", "step_size=1"),
            ("StepLR", "0.01", "torch.optim.adamw.AdamW"),
        ),
        (
            ("--optimizer_type", "Adafactor"),
            ("adafactor:0.01", "None", "transformers.optimization.Adafactor(relative_step=True)"),
        ),
        (
            ("--optimizer_type", "Adafactor", "--optimizer_args", "relative_step=False", "scale_parameter=False"),
            ("constant", "0.01", "transformers.optimization.Adafactor(relative_step=False,scale_parameter=False)"),
        ),
        (("--optimizer_type", "SGDNesterov"), ("constant", "0.01", "torch.optim.sgd.SGD(momentum=0.9)")),
    ],
)
def test_course_rate_and_optimizer_are_named_as_in_the_field(
    train_toy: TrainToy, words: tuple[str, ...], expected: tuple[str, str, str]
) -> None:
    with safe_open(train_toy(*words, "--max_train_steps", "1"), "pt") as file:
        said = file.metadata()
    assert (said["ss_lr_scheduler"], said["ss_learning_rate"], said["ss_optimizer"]) == expected
