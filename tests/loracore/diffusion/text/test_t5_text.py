from __future__ import annotations

import pytest
import torch
from transformers import T5EncoderModel

from loracore.diffusion.text.t5_text import t5_states
from loracore.testing import tiny_models

IDS = torch.tensor([[5, 6, 1, 0, 0], [7, 8, 9, 10, 1]])


@pytest.fixture(scope="module")
def encoder() -> T5EncoderModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tiny_models.t5_encoder(16)


@torch.no_grad()
def test_masked_padding_changes_nothing_before_it(encoder: T5EncoderModel) -> None:
    mask = (IDS != 0).long()
    short, masked, plain = (
        t5_states(encoder, IDS[:1, :3], None),
        t5_states(encoder, IDS, mask),
        t5_states(encoder, IDS, None),
    )
    torch.testing.assert_close(masked[:1, :3], short)
    assert (plain[:1, :3] - short).abs().max() > 1e-3
    torch.testing.assert_close(masked[1], plain[1])


def test_gradients_flow_into_what_trains(encoder: T5EncoderModel) -> None:
    torch.autograd.backward(t5_states(encoder, IDS, None).sum())
    assert encoder.encoder.block[0].layer[0].SelfAttention.q.weight.grad.abs().sum() > 0
