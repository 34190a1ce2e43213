from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore.memory.checkpointing import checkpoint_blocks
from loracore.memory.planning.block_counts import counted_blocks
from loracore.memory.planning.live_storages import LiveStorages

DEVICES = ("cpu", "meta")


@pytest.mark.parametrize("device", DEVICES)
def test_a_storage_counts_once_and_until_its_last_view_is_gone(device: str) -> None:
    with LiveStorages(device) as live:
        made = torch.zeros(10, device=device)
        view = made.view(2, 5)
        assert live.bytes == 40
        del made
        assert live.bytes == 40
        del view
    assert (live.bytes, live.peak) == (0, 40)


def test_attention_takes_what_torch_takes() -> None:
    query = torch.zeros(1, 2, 8, 4, device="meta")
    with LiveStorages("meta"):
        assert functional.scaled_dot_product_attention(query, query, query, None, 0.0, True).shape == query.shape
        assert functional.scaled_dot_product_attention(query, query, query, enable_gqa=True, scale=0.5).is_meta


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_graph_keeps_is_alive_until_the_backward_pass(device: str) -> None:
    weight = torch.ones(4, 4, device=device, requires_grad=True)
    with LiveStorages(device) as live:
        loss = (torch.ones(2, 4, device=device) @ weight).exp().sum()
        kept = live.bytes
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        del loss
    assert kept >= 2 * 4 * 4 * 2
    assert live.bytes == 4 * 4 * 4  # the gradient


def test_what_was_held_before_and_pieces_of_an_allocator_count() -> None:
    weight = torch.zeros(3)
    live = LiveStorages("cpu", grain=512)
    live.hold([weight, weight.view(3, 1)], "weights")
    live.hold_bytes(100, "optimizer")
    with live, live.part("work"):
        weight.clone()
    assert live.parts_at_peak == {"weights": 512, "optimizer": 100, "work": 512}
    assert live.peak == 1124


def test_other_devices_do_not_count() -> None:
    with LiveStorages("meta") as live:
        torch.zeros(10)
    assert live.peak == 0


def test_a_tensor_changes_its_part() -> None:
    with LiveStorages("cpu") as live:
        made = torch.zeros(10)
        live.give(made, "gradients")
    assert live.parts_at_peak["gradients"] == 40


def attention(device: str) -> Tensor:
    heads = torch.ones(1, 2, 64, 8, device=device, requires_grad=True)
    answer: Tensor = functional.scaled_dot_product_attention(heads, heads, heads)
    answer.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    return answer


def test_attention_keeps_no_scores_and_is_counted_in_operations() -> None:
    peaks = []
    for device in DEVICES:
        with LiveStorages(device) as live:
            attention(device)
        peaks.append(live.peak)
        assert live.flops >= 2 * 2 * 2 * 64 * 64 * 8
    assert peaks[1] == pytest.approx(peaks[0], rel=0.05)


def test_numbers_that_are_not_there_have_some_answer() -> None:
    with LiveStorages("meta"):
        made = torch.zeros(2, device="meta")
        assert (made.sum().item(), bool((made == 1).all()), made.nonzero().shape) == (0.0, True, (1, 1))
        assert made.cpu().tolist() == [0.0, 0.0]
        assert torch.ones(2).copy_(made).tolist() == [1.0, 1.0]


def block_bytes(*, checkpointed: bool) -> tuple[int, int]:
    """Return what a block keeps, and its operations."""
    block = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8)).to("meta")
    if checkpointed:
        checkpoint_blocks([block])
    live = LiveStorages("meta")
    live.hold(block.parameters(), "weights")
    with counted_blocks([block], live) as counts, live:
        block(torch.zeros(3, 8, device="meta", requires_grad=True)).sum().backward()
    return counts[0].kept, counts[0].flops


def test_a_checkpointed_block_keeps_its_output_alone() -> None:
    kept, flops = block_bytes(checkpointed=False)
    assert kept >= 3 * 64 * 4 + 3 * 8 * 4
    assert block_bytes(checkpointed=True) == (3 * 8 * 4, flops)


def test_blocks_are_left_as_they_were() -> None:
    block = nn.Linear(2, 2)
    with counted_blocks([block], LiveStorages("cpu")):
        assert "forward" in vars(block)
    assert "forward" not in vars(block)
