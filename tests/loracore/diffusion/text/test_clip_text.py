from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from loracore.config.config import Config
from loracore.diffusion.files.folders import LocalFolder
from loracore.diffusion.options import ClipTextOptions
from loracore.diffusion.text.clip_text import (
    ClipTokenizer,
    ClipTokens,
    chunk_ids,
    clean_text,
    encode_ids,
    encoder_layers,
    join_chunks,
    pooled_state,
    text_mask,
)
from loracore.diffusion.text.tokenizers import find_tokenizer
from loracore.testing import tiny_models

START, END = 98, 99


@pytest.fixture
def tokenizer(tmp_path: Path) -> ClipTokenizer:
    tiny_models.write_tokenizer(tmp_path / "tokenizer")
    return ClipTokenizer.of(find_tokenizer(LocalFolder(tmp_path), "tokenizer", "owner/name", None))


def whole(chunks: Tensor, pad_id: int) -> Tensor:
    """The token row that these chunks were cut from: text, one end token, padding."""
    texts = [[t for t in row[:, 1:-1].flatten().tolist() if t not in {END, pad_id}] for row in chunks]
    length = chunks.shape[1] * 75 + 2
    rows = [([START, *text][: length - 1] + [END] + [pad_id] * length)[:length] for text in texts]
    return torch.tensor(rows)


@pytest.mark.parametrize(("encoder", "pad_id"), [(1, END), (2, 0)])
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_chunks_are_the_references(data: Path, encoder: int, pad_id: int, chunks: int) -> None:
    golden = load_file(data / "textenc-sdxl.safetensors")[f"n{chunks}.ids{encoder}"]
    assert torch.equal(chunk_ids(whole(golden, pad_id), END, pad_id), golden)


def test_full_chunk_before_the_last_ends_with_an_end_token() -> None:
    ids = torch.tensor([[START, *[7] * 100, END, *[0] * 50]])
    first, second = chunk_ids(ids, END, 0)[0].tolist()
    assert (first[-2:], second[:2], second[26]) == ([7, END], [START, 7], END)


def test_captions_are_padded_to_whole_chunks(tokenizer: ClipTokenizer) -> None:
    ids = tokenizer.ids(["a cat", "x" * 300], chunks=2)
    assert ids.shape == (2, 2, 77)
    assert ids[0, 0, :6].tolist() == [tokenizer.start_id, *ids[0, 0, 1:5].tolist(), tokenizer.end_id]
    assert ids[1, 1, -1] == tokenizer.end_id


def test_padding_of_the_text_encoder_replaces_the_tokenizers(tokenizer: ClipTokenizer) -> None:
    ids = ClipTokenizer.of(tokenizer.tokenizer, pad_id=0).ids(["a"], chunks=1)
    assert ids[0, 0, 3:].tolist() == [0] * 74


@pytest.mark.parametrize(
    ("written", "read"),
    [("“dog”", '"dog"'), ("salt &amp; pepper", "salt & pepper"), ("ﬁsh", "fish"), ("dog’s", "dog's")],
)
def test_typographic_characters_are_made_plain(tokenizer: ClipTokenizer, written: str, read: str) -> None:
    assert clean_text(written) == read
    assert torch.equal(tokenizer.ids([written], 1), tokenizer.ids([read], 1))


def test_joined_chunks_keep_the_outermost_start_and_end() -> None:
    hidden = torch.arange(2 * 77, dtype=torch.float32).reshape(1, 2, 77, 1)
    joined = join_chunks(hidden).flatten().tolist()
    assert joined == [0, *range(1, 76), *range(78, 153), 153]


def test_pooled_state_is_that_of_the_first_end_token() -> None:
    projection = nn.Linear(3, 2, bias=False)
    final = torch.randn(2, 5, 3)
    ids = torch.tensor([[START, 1, END, END, END], [START, 1, 2, 3, 120]])  # ids above the end token were added
    pooled = pooled_state(projection, final, ids, END)
    torch.testing.assert_close(pooled, projection(torch.stack([final[0, 2], final[1, 0]])))


def test_states_are_those_before_the_last_layer_and_after_the_norm() -> None:
    encoder = tiny_models.text_encoder(16, layers=3)
    seen: list[Tensor] = []
    encoder_layers(encoder)[1].register_forward_hook(
        lambda _module, _inputs, output: seen.append(output if isinstance(output, Tensor) else output[0])
    )
    ids = torch.randint(0, 512, (2, 1, 77))
    with torch.no_grad():
        states = encode_ids(encoder, ids)
        direct = encoder(input_ids=ids[:, 0]).last_hidden_state
    torch.testing.assert_close(states.penultimate, seen[0])
    torch.testing.assert_close(states.final, direct)


@pytest.mark.parametrize("padding", ["!", tiny_models.END])
def test_text_mask_is_the_tokenizers_own(tmp_path: Path, padding: str) -> None:
    tiny_models.write_tokenizer(tmp_path / "tokenizer", padding=padding)
    own = ClipTokenizer.of(find_tokenizer(LocalFolder(tmp_path), "tokenizer", "owner/name", None))
    captions = ["a cat!", "", "x" * 300]
    whole = own.tokenizer(captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    ids = own.ids(captions, 1)
    assert torch.equal(ids[:, 0], whole["input_ids"])
    assert torch.equal(text_mask(ids, own.end_id)[:, 0], whole["attention_mask"])


@torch.no_grad()
def test_masked_padding_is_heard_by_nobody() -> None:
    encoder = tiny_models.text_encoder(16, layers=2)
    ids = torch.full((1, 1, 77), tiny_models.TOKENS - 1)
    ids[0, 0, :3] = torch.tensor([tiny_models.TOKENS - 2, 7, tiny_models.TOKENS - 1])
    mask = text_mask(ids, tiny_models.TOKENS - 1)
    plain, masked = (encode_ids(encoder, ids, chosen).penultimate for chosen in (None, mask))
    torch.testing.assert_close(masked[:, :3], plain[:, :3])  # every token hears those before it only
    assert (masked - plain)[:, 3:].abs().max() > 1e-3


def text_options(*, weighted: bool = True, length: int | None = None) -> Config:
    return Config([ClipTextOptions(max_token_length=length, weighted_captions=weighted)], {})


@pytest.mark.parametrize("length", [75, 150, 225])
def test_captions_without_brackets_have_the_same_tokens_and_weights_of_one(
    tokenizer: ClipTokenizer, length: int
) -> None:
    captions = ["", "a red, red cat &amp; co", "word " * 100, "x" * 300]
    weighted = tokenizer.tokens(captions, text_options(length=length))
    assert torch.equal(weighted.ids, tokenizer.ids(captions, length // 75))
    assert weighted.weights is not None
    assert torch.equal(weighted.weights, torch.ones(4, length + 2))


@pytest.mark.parametrize("caption", ["a (red:1.3) cat", "(a) [red] cat", "a ((red cat))", "(a red cat:0.5)"])
def test_tokens_of_pieces_are_those_of_the_whole(tokenizer: ClipTokenizer, caption: str) -> None:
    assert torch.equal(tokenizer.tokens([caption], text_options()).ids, tokenizer.ids(["a red cat"], 1))


def test_each_token_has_the_weight_of_its_piece(tokenizer: ClipTokenizer) -> None:
    weights = tokenizer.tokens(["ab (cd:1.5) [e]", "(x:2)"], text_options()).weights
    assert weights is not None
    assert weights[0, :8].tolist() == pytest.approx([1, 1, 1, 1.5, 1.5, 1 / 1.1, 1, 1])
    assert weights[1, :4].tolist() == [1, 2, 1, 1]


def test_weights_reach_beyond_the_first_chunk_and_stop_at_the_end(tokenizer: ClipTokenizer) -> None:
    weights = tokenizer.tokens([f"{'a' * 80} ({'b' * 200}:2)"], text_options(length=150)).weights
    assert weights is not None
    assert weights[0].tolist() == [1] * 81 + [2] * 70 + [1]


def test_brackets_are_text_unless_captions_are_weighted(tokenizer: ClipTokenizer) -> None:
    tokens = tokenizer.tokens(["(a:1.2)"], text_options(weighted=False))
    assert tokens.weights is None
    assert torch.equal(tokens.ids, tokenizer.ids(["(a:1.2)"], 1))


def test_hidden_states_are_multiplied_in_their_own_dtype() -> None:
    tokens = ClipTokens(torch.zeros(1, 1, 77), torch.tensor([[1.0, 2.0, 0.5]]))
    found = tokens.weighed(torch.ones(1, 3, 2, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found[0, :, 1].tolist() == [1, 2, 0.5]
