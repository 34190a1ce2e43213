from __future__ import annotations

from loracore.config.config import Config
from loracore.config.options import HubOptions, LoggingOptions
from loracore.config.secret_values import secret_names, secret_values, without_secrets


def test_secret_options_and_their_values_are_known() -> None:
    config = Config([HubOptions(), LoggingOptions()], {})
    config = config.with_values({"huggingface_token": "abc", "wandb_api_key": "abcdef"})
    assert set(secret_names(config)) == {"huggingface_token", "wandb_api_key"}
    assert secret_values(config) == ("abcdef", "abc")


def test_a_secret_that_is_a_part_of_another_hides_both() -> None:
    assert without_secrets("abc and abcdef", ("abcdef", "abc")) == "(hidden) and (hidden)"
