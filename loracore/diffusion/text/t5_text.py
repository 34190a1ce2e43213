"""Captions → tokens → hidden states of a T5 encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # runs whose captions are all cached go without them
    from tokenizers import Tokenizer
    from transformers import T5EncoderModel

END, PADDING = "</s>", "<pad>"


@dataclass(frozen=True, eq=False, slots=True)
class T5Tokenizer:
    """A T5 tokenizer; captions go into it as they are, there is nothing to clean."""

    tokenizer: Tokenizer

    def ids(self, captions: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """Return token ids (B,length) and what of them is text (B,length: 1, padding 0), both int64.

        Every row ends with the end token, behind which it is padded; longer captions are cut.
        """
        end, padding = self.tokenizer.token_to_id(END), self.tokenizer.token_to_id(PADDING)
        encoded = self.tokenizer.encode_batch(list(captions), add_special_tokens=False)
        rows = [[*row.ids[: length - 1], end] for row in encoded]
        ids = torch.tensor([[*row, *[padding] * (length - len(row))] for row in rows], dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, (torch.arange(length) < lengths[:, None]).long()


def t5_states(encoder: T5EncoderModel, ids: Tensor, mask: Tensor | None) -> Tensor:
    """Return the states (B,T,F) after the last norm for ids (B,T); a mask (B,T) hides tokens from the others.

    The encoder may be on a device of its own; gradients flow where they are on.
    """
    own = None if mask is None else mask.to(encoder.device)
    states: Tensor = encoder(input_ids=ids.to(encoder.device), attention_mask=own).last_hidden_state
    return states
