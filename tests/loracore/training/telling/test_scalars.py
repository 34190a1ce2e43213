from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loracore.cli.choice import plugin_options
from loracore.cli.request import read_request
from loracore.config.config import Config
from loracore.config.options import PluginOptions
from loracore.training.telling.scalars import Scalars, scalars, tracked_options
from loracore.types import Event

Configured = Callable[..., Config]


@pytest.fixture
def configured(toy_config: Path) -> Configured:
    def read(*words: str) -> Config:
        return read_request([str(toy_config), *words]).config

    return read


def step(**more: Any) -> Event:
    values = {"epoch": 2, "loss": 0.5, "average": 0.6, "grad_norm": 1.5, "skipped": False}
    return Event("step", 7, {**values, "lr": {"te1": 1.0, "unet": 2.0, "unet_block1": 3.0}, **more})


def found(event: Event, config: Config) -> Scalars:
    scalar = scalars(event, config)
    assert scalar is not None
    return scalar


def test_a_step_has_the_fields_names(configured: Configured) -> None:
    told = found(step(), configured())
    assert (told.x, told.epoch) == (7, 2)
    assert told.values == {
        "loss/current": 0.5,
        "loss/average": 0.6,
        "norm/grad_norm": 1.5,
        "lr/te1": 1.0,
        "lr/unet": 2.0,
        "lr/unet_block1": 3.0,
        "lr/group0": 1.0,
        "lr/group1": 2.0,
        "lr/group2": 3.0,
    }


def test_with_text_encoders_the_first_rate_is_called_theirs(configured: Configured) -> None:
    told = found(step(), configured("--no_network_train_unet_only")).values
    assert {name: told[name] for name in ("lr/textencoder", "lr/group1", "lr/group2")} == {
        "lr/textencoder": 1.0,
        "lr/group1": 2.0,
        "lr/group2": 3.0,
    }
    assert "lr/group0" not in told


def test_an_optimizer_that_finds_its_rate_tells_d_times_it_by_group(configured: Configured) -> None:
    told = found(step(d_lr={"te1": 0.1, "unet": 0.2, "unet_block1": 0.3}), configured()).values
    assert told["lr/d*lr/unet"] == 0.2
    assert told["lr/d*lr/group2"] == 0.3
    assert "lr/d*lr" not in told


def test_norms_of_scaled_adapters_have_the_fields_names(configured: Configured) -> None:
    told = found(step(keys_scaled=3, average_key_norm=0.5, max_key_norm=1.0), configured()).values
    names = ("max_norm/keys_scaled", "norm/avg_key_norm", "max_norm/max_key_norm")
    assert [told[name] for name in names] == [3.0, 0.5, 1.0]


def test_what_is_known_of_an_epoch_stands_at_the_epoch(configured: Configured) -> None:
    told = found(Event("epoch", 40, {"epoch": 3, "average": 0.25}), configured())
    assert (told.values, told.x) == ({"loss/epoch_average": 0.25}, 3)


@pytest.mark.parametrize(("scope", "x"), [("step", 40), ("epoch", 3)])
def test_validation_stands_where_it_was_asked_for(configured: Configured, scope: str, x: int) -> None:
    values = {"epoch": 3, "scope": scope, "loss": 0.5, "bands": {"200": 0.1}, "divergence": 0.2, "best": True}
    told = found(Event("validation", 40, values), configured())
    assert told.x == x
    assert told.values == {
        f"loss/validation/{scope}_average": 0.5,
        f"loss/validation/{scope}_divergence": 0.2,
        f"loss/validation/{scope}_timestep_200": 0.1,
    }


def test_a_number_that_is_not_known_is_left_out(configured: Configured) -> None:
    assert "loss/current" not in found(step(loss=None), configured()).values


def test_events_without_numbers_tell_nothing(configured: Configured) -> None:
    assert scalars(Event("saved", 1, {"path": "a"}), configured()) is None


def test_told_options_hold_neither_secrets_nor_places(configured: Configured) -> None:
    told = tracked_options(configured("--huggingface_token", "SECRET", "--optimizer_args", "weight_decay=0.1"))
    hidden = {"huggingface_token", "wandb_api_key", "pretrained_model_name_or_path", "output_dir", "train_data_dir"}
    assert not hidden & told.keys()
    assert told["optimizer_args"] == "('weight_decay=0.1',)"
    declared = plugin_options(PluginOptions(arch="sdxl"))
    every = Config([table() for table in declared.tables], {})
    assert every.shown().keys() - tracked_options(every).keys() == {
        *("pretrained_model_name_or_path", "vae", "tokenizer_cache_dir", "train_data_dir", "conditioning_data_dir"),
        *("reg_data_dir", "output_dir", "logging_dir"),
    }
    assert told["learning_rate"] == 0.01
