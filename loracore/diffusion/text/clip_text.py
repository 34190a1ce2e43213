"""Captions → tokens → hidden states of CLIP text encoders, in chunks of 75 tokens."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from loracore.config.config import Config
from loracore.diffusion.options import CHUNK_TOKENS, ClipTextOptions, chunk_count
from loracore.diffusion.text.prompt_weights import weighted_pieces

if TYPE_CHECKING:  # runs whose captions are all cached go without transformers' models
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerBase

#: The first and the last token of each chunk stand around its 75.
_AROUND = 2


@dataclass(frozen=True, eq=False, slots=True)
class ClipTokens:
    """Captions as a CLIP text encoder reads them, and how much each token counts."""

    ids: Tensor  # B,n,77, int64
    weights: Tensor | None = None  # B,75n+2, float32, of the tokens with chunks joined; None: all count alike

    def to(self, device: torch.device) -> ClipTokens:
        """Return the same on a device."""
        return ClipTokens(self.ids.to(device), None if self.weights is None else self.weights.to(device))

    def weighed(self, hidden: Tensor) -> Tensor:
        """Return hidden states (B,75n+2,F) multiplied by their tokens' weights; their mean may change."""
        return hidden if self.weights is None else hidden * self.weights[:, :, None].to(hidden.dtype)


@dataclass(frozen=True, eq=False, slots=True)
class ClipTokenizer:
    """A tokenizer, and the ids that its text encoder was trained with."""

    tokenizer: PreTrainedTokenizerBase
    start_id: int
    end_id: int
    pad_id: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, pad_id: int | None = None) -> ClipTokenizer:
        """Take the ids from the tokenizer; ``pad_id`` replaces the one that it pads with."""
        start, end = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        own = end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        return cls(tokenizer, start, end, own if pad_id is None else pad_id)

    def ids(self, captions: Sequence[str], chunks: int) -> Tensor:
        """Return token ids (B,chunks,77), int64; longer captions are cut."""
        length = chunks * CHUNK_TOKENS + _AROUND
        cleaned = [clean_text(caption) for caption in captions]
        rows = self.tokenizer(cleaned, truncation=True, max_length=length)["input_ids"]
        return self._chunks(rows, length)

    def tokens(self, captions: Sequence[str], config: Config) -> ClipTokens:
        """Return the tokens of captions in as many chunks as the options say, weighted where they ask for it."""
        chunks = chunk_count(config)
        if not config[ClipTextOptions].weighted_captions:
            return ClipTokens(self.ids(captions, chunks))
        length = chunks * CHUNK_TOKENS + _AROUND
        weighted = [self._weighted(caption, length) for caption in captions]
        rows = [[self.start_id, *(token for token, _ in row), self.end_id] for row in weighted]
        weights = torch.ones(len(rows), length)
        for at, row in enumerate(weighted):
            weights[at, 1 : len(row) + 1] = torch.tensor([weight for _, weight in row])
        return ClipTokens(self._chunks(rows, length), weights)

    def _weighted(self, caption: str, length: int) -> list[tuple[int, float]]:
        """Return the tokens of a caption, its ends left out, each with its weight; brackets are no text."""
        pieces = weighted_pieces(caption)
        inner = length - _AROUND
        texts = [clean_text(piece.text) for piece in pieces]
        rows = self.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=inner)["input_ids"]
        every = [(token, piece.weight) for piece, row in zip(pieces, rows, strict=True) for token in row]
        return every[:inner]

    def _chunks(self, rows: Sequence[Sequence[int]], length: int) -> Tensor:
        padded = [[*row, *[self.pad_id] * (length - len(row))] for row in rows]
        return chunk_ids(torch.tensor(padded, dtype=torch.int64), self.end_id, self.pad_id)


def clean_text(text: str) -> str:
    """Return the text as CLIP's own tokenizer prepares it: entities, curly quotes and ligatures made plain.

    Tokenizers of transformers 5 leave this step out, so that their ids would differ from those of the training.
    """
    import ftfy

    return str(ftfy.fix_text(html.unescape(text)))


def chunk_ids(ids: Tensor, end_id: int, pad_id: int) -> Tensor:
    """Return ids (B,75n+2) as chunks (B,n,77), each with the first and the last token of the whole around its 75.

    Where the padding is no end token, a chunk that is full of text ends with an end token, and one without text
    begins with it.
    """
    inner = ids[:, 1:-1].reshape(len(ids), -1, CHUNK_TOKENS)
    around = [ids[:, None, :1], ids[:, None, -1:]]
    first, last = (edge.expand(-1, inner.shape[1], -1) for edge in around)
    chunks = torch.cat([first, inner, last], dim=2)
    if pad_id == end_id or inner.shape[1] == 1:
        return chunks
    full = (chunks[..., -2] != end_id) & (chunks[..., -2] != pad_id)
    chunks[..., -1] = torch.where(full, end_id, chunks[..., -1])
    chunks[..., 1] = torch.where(chunks[..., 1] == pad_id, end_id, chunks[..., 1])
    return chunks


@dataclass(frozen=True, eq=False, slots=True)
class ClipStates:
    """What a CLIP text encoder says of B captions in n chunks."""

    penultimate: Tensor  # B,75n+2,F: after the last layer but one, without the final norm
    final: Tensor  # B,77,F: the first chunk after the last layer and the final norm


def encode_ids(
    encoder: CLIPTextModel | CLIPTextModelWithProjection, ids: Tensor, mask: Tensor | None = None
) -> ClipStates:
    """Return the hidden states for ids (B,n,77); gradients flow where they are on.

    A mask (B,n,77) hides the tokens where it is 0 from the others.
    """
    batch, chunks, _ = ids.shape
    flat = None if mask is None else mask.flatten(0, 1)
    answer = encoder(input_ids=ids.flatten(0, 1), attention_mask=flat, output_hidden_states=True)
    hidden = answer.hidden_states[-2].unflatten(0, (batch, chunks))
    final = answer.last_hidden_state.unflatten(0, (batch, chunks))[:, 0]
    return ClipStates(join_chunks(hidden), final)


def join_chunks(hidden: Tensor) -> Tensor:
    """Return states (B,75n+2,F) of (B,n,77,F): the first start, every chunk's 75, the last end."""
    inner = hidden[:, :, 1:-1].flatten(1, 2)
    return torch.cat([hidden[:, 0, :1], inner, hidden[:, -1, -1:]], dim=1)


def text_mask(ids: Tensor, end_id: int) -> Tensor:
    """Return the tokenizers' own mask for ids (B,n,77): 1 up to each chunk's first end token, 0 behind it."""
    is_end = (ids == end_id).long()
    return (is_end.cumsum(dim=-1) - is_end == 0).long()


def pooled_state(projection: nn.Linear, final: Tensor, ids: Tensor, end_id: int) -> Tensor:
    """Return the projected state (B,P) at each caption's first end token; position 0 where there is none.

    ``final`` (B,77,F) and ``ids`` (B,77) are of the first chunk. The library's own pooling takes the largest id
    instead, where a configuration names the end token 2 as old ones do: another place once tokens were added.
    """
    places = (ids == end_id).int().argmax(dim=-1)
    state = final[torch.arange(len(ids), device=final.device), places]
    projected: Tensor = projection(state.to(projection.weight.dtype))
    return projected.to(final.dtype)


def encoder_layers(encoder: nn.Module) -> nn.ModuleList:
    """Return the layers of a CLIP text encoder in execution order, wherever this transformers version keeps them."""
    for name, module in encoder.named_modules():
        if name.endswith("encoder.layers") and isinstance(module, nn.ModuleList):
            return module
    message = f"{type(encoder).__name__} has no encoder.layers"
    raise TypeError(message)
