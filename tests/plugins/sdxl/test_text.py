from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from loracore_sdxl import text
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loracore import TextConditioning
from loracore.diffusion.files.weight_names import clip_names
from loracore.diffusion.text.clip_text import ClipTokens
from tests.plugins.sdxl.runs import TEXT, config_of, loaded

Encoders = tuple[CLIPTextModel, CLIPTextModelWithProjection]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "data" / "textenc-sdxl.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


@pytest.fixture(scope="module")
def encoders(facts: dict[str, Any]) -> Encoders:
    tensors = load_file(Path(__file__).parents[2] / "data" / "tiny-sdxl-te-hf.safetensors")
    made = []
    for name, kind in (("te1", CLIPTextModel), ("te2", CLIPTextModelWithProjection)):
        sizes = {key: value for key, value in facts[name].items() if key not in {"class", "pad_id"}}
        # end token 2, as old files say: the pooled state must not depend on it
        model = kind(CLIPTextConfig(**sizes, bos_token_id=0, eos_token_id=2, pad_token_id=1)).eval()
        own = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(name)}
        places = clip_names(model.state_dict(), own)
        model.load_state_dict({key: own[place.name].float() for key, place in places.items()})
        made.append(model)
    return made[0], made[1]


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_encoding_is_the_references(encoders: Encoders, facts: dict[str, Any], data: Path, chunks: int) -> None:
    golden = load_file(data / "textenc-sdxl.safetensors")
    ids = (ClipTokens(golden[f"n{chunks}.ids1"]), ClipTokens(golden[f"n{chunks}.ids2"]))
    with torch.no_grad():
        said = text.encode_tokens(encoders, ids, facts["eos_id"])
    hidden = torch.cat([golden[f"n{chunks}.hidden1"], golden[f"n{chunks}.hidden2"]], dim=-1)
    torch.testing.assert_close(said["context"], hidden, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(said["pooled"], golden[f"n{chunks}.pool2"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("length", "tokens"), [(None, 77), (75, 77), (150, 152), (225, 227)])
def test_context_grows_with_the_token_length(folder: Path, length: int | None, tokens: int) -> None:
    said = text.encode(loaded(folder, TEXT), ["a cat", "word " * 200], config_of(max_token_length=length))
    assert {name: tuple(tensor.shape) for name, tensor in said.tensors.items()} == {
        "context": (2, tokens, 40),
        "pooled": (2, 24),
    }


def difference(one: TextConditioning, other: TextConditioning, name: str) -> float:
    return float((one[name] - other[name]).abs().max())


def test_words_beyond_one_chunk_count_only_in_longer_captions(folder: Path) -> None:
    models = loaded(folder, TEXT)
    captions = ["word " * 60 + ending for ending in ("cat", "dog")]  # 5 tokens a word
    short = text.encode(models, captions, config_of())
    long = text.encode(models, captions, config_of(max_token_length=300))
    assert difference(short.rows(0, 1), short.rows(1, 2), "context") == 0
    assert difference(long.rows(0, 1), long.rows(1, 2), "context") > 0


def test_a_caption_is_encoded_the_same_in_any_company(folder: Path) -> None:
    models = loaded(folder, TEXT)
    alone = text.encode(models, ["a cat"], config_of())
    together = text.encode(models, ["a dog on a hill", "a cat"], config_of()).rows(1, 2)
    assert difference(alone, together, "context") < 1e-5
    assert difference(alone, together, "pooled") < 1e-5


@pytest.mark.parametrize("length", [75, 150, 225])
def test_weights_multiply_both_encoders_states_and_leave_the_pooled_one(folder: Path, length: int) -> None:
    models, weighted = loaded(folder, TEXT), config_of(weighted_captions=True, max_token_length=length)
    plain = text.encode(models, ["a red cat"], config_of(max_token_length=length))
    said = text.encode(models, ["a (red:1.5) cat"], weighted)
    assert torch.equal(said["pooled"], plain["pooled"])
    factors = torch.ones(length + 2)
    factors[2:5] = 1.5  # the letters of "red" behind the first token and "a"
    assert torch.equal(said["context"], plain["context"] * factors[None, :, None])


def test_captions_without_brackets_are_encoded_as_ever(folder: Path) -> None:
    models, captions = loaded(folder, TEXT), ["a cat", "", "word " * 100]
    plain, weighted = (text.encode(models, captions, config_of(weighted_captions=on)) for on in (False, True))
    assert all(torch.equal(plain[name], weighted[name]) for name in ("context", "pooled"))


def test_weighting_captions_makes_other_cache_entries() -> None:
    assert config_of(weighted_captions=True).affecting("text")["weighted_captions"] is True
