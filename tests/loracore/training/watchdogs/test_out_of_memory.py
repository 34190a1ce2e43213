from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch

from loracore import Config, LoracoreError, ModelOptions, NetworkOptions, Prediction, TrainingOptions, hookimpl
from loracore.config.options import DataOptions, MemoryOptions, SpeedOptions
from loracore.training.watchdogs.out_of_memory import Phase, explained
from tests.toy_runs import TrainToy

ON_CARD = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8 GiB")
ON_HOST = RuntimeError(
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes."
)


#: What is left when everything else is done.
REST = (
    "give the network a smaller network_dim",
    "train at a smaller resolution",
    "end other programs that use the card",
)


def config(**options: Any) -> Config:
    tables = (ModelOptions, MemoryOptions, SpeedOptions, DataOptions, NetworkOptions, TrainingOptions)
    known = {table: set(table.__dataclass_fields__) for table in tables}
    own = [table(**{name: value for name, value in options.items() if name in known[table]}) for table in tables]
    return Config(own, {})


def said(error: BaseException, phase: Phase = "training", **options: Any) -> tuple[str, list[str]]:
    """Return the message, and the changes that are proposed by their first option."""
    found = explained(error, config(**options), phase)
    assert isinstance(found, LoracoreError)
    (problem,) = found.problems
    return problem.message, problem.fix.removeprefix("cheapest first: ").split("; ")


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes differ"), KeyboardInterrupt()])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    assert explained(error, config(), "training") is None


def test_a_full_card_says_what_was_wanted_and_what_helps() -> None:
    message, changes = said(ON_CARD)
    assert message.startswith("out of memory while training: 2.50 GiB more were wanted; ")
    assert [change.split(":")[0] for change in changes] == [
        'set mixed_precision = "bf16"',
        'set memory = "auto"',
        "set gradient_checkpointing",
    ]


def test_what_is_on_is_not_proposed_again() -> None:
    done: dict[str, Any] = {"mixed_precision": "bf16", "gradient_checkpointing": True, "network_train_unet_only": True}
    assert [change.split(":")[0] for change in said(ON_CARD, **done, train_batch_size=4)[1]] == [
        "set train_batch_size = 1 with gradient_accumulation_steps = 4",
        'set optimizer_type = "AdamW8bit"',
        "set fp8_base_unet",
    ]
    everything = done | {"optimizer_type": "AdamW8bit", "fp8_base_unet": True, "blocks_to_swap": 8}
    assert [change.split(" ")[0] for change in said(ON_CARD, **everything)[1]] == ["give", "train", "end"]


#: What leaves blocks as the only thing to change.
SMALL: dict[str, Any] = {
    "mixed_precision": "bf16",
    "network_train_unet_only": True,
    "optimizer_type": "AdamW8bit",
    "fp8_base_unet": True,
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ['set memory = "auto"', "set gradient_checkpointing", "set blocks_to_swap"]),
        ({"cuda_graphs": True}, ["leave out cuda_graphs"]),
        (
            {"opt_channels_last": True},
            [
                "leave out opt_channels_last",
                "set gradient_checkpointing",
            ],
        ),
        (
            {"checkpointed_blocks": (1,)},
            ["set gradient_checkpointing in place of checkpointed_blocks", "set blocks_to_swap"],
        ),
        ({"gradient_checkpointing": True, "cpu_offload_checkpointing": True}, []),
        ({"memory": "auto"}, ["give memory auto less than it counted on (memory_budget), see `loracore plan`"]),
    ],
)
def test_nothing_is_proposed_that_ends_in_an_error(options: dict[str, Any], expected: list[str]) -> None:
    changes = [change.split(":")[0] for change in said(ON_CARD, **SMALL, **options)[1]]
    assert changes == [*expected, *REST][: len(changes)]


def test_the_vae_asks_for_smaller_batches_of_its_own() -> None:
    changes = said(ON_CARD, "encoding pictures", mixed_precision="bf16", vae_batch_size=8)[1]
    assert changes[0] == "set vae_batch_size = 1"
    assert not any("gradient_checkpointing" in change for change in changes)


def test_a_full_host_says_what_this_process_holds() -> None:
    message, changes = said(ON_HOST, "encoding pictures", mixed_precision="bf16")
    assert "4.00 GiB more were wanted; this process held " in message
    assert changes[0] == "set cache_latents_to_disk: latents stay in files"


def test_what_a_real_allocation_raises_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert "268435456.00 GiB more were wanted" in said(caught.value)[0]


def test_memory_that_python_lacks_is_understood() -> None:
    assert "more was wanted" in said(MemoryError())[0]
    assert "1.5 GiB more were wanted" in said(MemoryError("Unable to allocate 1.5 GiB for an array"))[0]


class Greedy:
    """Asks for more memory than there is in one hook."""

    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Prediction, Prediction]:
        torch.empty(2**58, dtype=torch.uint8)
        return (yield)


class GreedyEncoder:
    @hookimpl(wrapper=True)
    def encode_images(self) -> Generator[None, object, object]:
        torch.empty(2**58, dtype=torch.uint8)
        return (yield)


class GreedyValidation:
    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Prediction, Prediction]:
        if not torch.is_grad_enabled():
            torch.empty(2**58, dtype=torch.uint8)
        return (yield)


@pytest.mark.parametrize(("plugin", "phase"), [(Greedy(), "training"), (GreedyEncoder(), "encoding pictures")])
def test_a_run_says_in_which_phase_memory_ran_out(train_toy: TrainToy, plugin: object, phase: str) -> None:
    with pytest.raises(LoracoreError, match=f"out of memory while {phase}: .* more were wanted"):
        train_toy(plugin=plugin)


def test_a_run_says_that_a_validation_was_too_much(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="out of memory while computing a validation loss"):
        train_toy("--validation_split", "0.34", "--validate_every_n_steps", "2", plugin=GreedyValidation())
