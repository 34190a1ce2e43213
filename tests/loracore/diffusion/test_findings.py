from __future__ import annotations

import pytest

from loracore.config.config import Config
from loracore.config.options import NetworkOptions, TrainingOptions
from loracore.diffusion.findings import encoder_device, idle, surplus_rates, unreadable


def config_of(*rates: float, unet_only: bool = False) -> Config:
    tables = [NetworkOptions(network_train_unet_only=unet_only), TrainingOptions(text_encoder_lr=rates)]
    return Config(tables, {"given": "run.toml:3"})


def test_only_given_options_are_idle() -> None:
    (found,) = idle(config_of(), {"given": "of another model", "absent": "never told"})
    assert (found.fate, found.message) == ("without effect", "given has no effect: of another model")


def test_what_cannot_be_read_is_told_with_the_reason() -> None:
    def read(_: Config) -> None:
        raise ValueError("seven is no number")

    (found,) = unreadable(config_of(), read, "given", "write 7")
    assert (found.fate, found.message, found.fix) == ("wrong", "given: seven is no number", "write 7")
    assert list(unreadable(config_of(), id, "given", "")) == []


def test_rates_beyond_the_encoders_are_named() -> None:
    assert list(surplus_rates(config_of(1.0, 2.0), 2, "this model has two")) == []
    (found,) = surplus_rates(config_of(1.0, 2.0, 3.0, 4.0), 2, "this model has two")
    assert "4 values, but this model has two text encoders: 3.0, 4.0 has no effect" in found.message


@pytest.mark.parametrize(
    ("device", "trained", "unet_only", "fates"),
    [
        (None, None, False, []),
        ("cuda:1", None, False, []),
        (None, "train_it", False, []),
        ("cpu", "train_it", False, ["wrong"]),
        (None, "train_it", True, ["without effect"]),
        ("cpu", "train_it", True, ["without effect"]),
        ("gpu", None, False, ["wrong"]),
        ("cuda:x", "train_it", False, ["wrong", "wrong"]),
    ],
)
def test_device_of_an_encoder_must_be_one_and_must_not_train_it(
    device: str | None, trained: str | None, unet_only: bool, fates: list[str]
) -> None:
    found = encoder_device(config_of(unet_only=unet_only), "its_device", device, trained)
    assert [finding.fate for finding in found] == fates
