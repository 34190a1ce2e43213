from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from loracore_sd3 import prepare_batch, text

from loracore import Batch, Models, SampleRng, TextConditioning
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import TEXT, config_of, loaded

CAPTIONS = ("a cat", "a dog on a hill")


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    return loaded(folder, TEXT)


@torch.no_grad()
def said(models: Models, captions: Sequence[str] = CAPTIONS, **options: object) -> TextConditioning:
    return text.encode(models, captions, config_of(**options))


def whole(models: Models, captions: Sequence[str] = CAPTIONS, **options: object) -> TextConditioning:
    return text.assembled(said(models, captions, **options), tiny.CONTEXT)


def switch(option: str, *, on: float) -> dict[str, Any]:
    return {option: on}


def batch_of(conditioning: TextConditioning) -> Batch:
    rows = len(conditioning)
    return Batch(("",) * rows, ("",) * rows, (), torch.zeros(rows, 16, 4, 4), conditioning, torch.ones(rows))


def prepared(conditioning: TextConditioning, *, training: bool = True, **options: object) -> TextConditioning:
    rng = SampleRng(0, "prepare", 0, range(len(conditioning)))
    return prepare_batch(batch_of(conditioning), rng, training, config_of(**options)).conditioning


def same(one: TextConditioning, other: TextConditioning, names: Sequence[str] = ("context", "pooled")) -> list[bool]:
    return [torch.equal(one[name], other[name]) for name in names]


@pytest.mark.parametrize("length", [256, 20])
def test_each_encoder_answers_in_its_own_tensors(models: Models, length: int) -> None:
    found = said(models, t5xxl_max_token_length=length)
    assert {name: tuple(tensor.shape) for name, tensor in found.tensors.items()} == {
        "clip_l": (2, 77, 16),
        "clip_l_pooled": (2, 16),
        "clip_g": (2, 77, 24),
        "clip_g_pooled": (2, 24),
        "t5": (2, length, 48),
    }


def test_context_is_both_clips_side_by_side_before_t5(models: Models) -> None:
    parts, found = said(models, t5xxl_max_token_length=20), whole(models, t5xxl_max_token_length=20)
    assert (found["context"].shape, found["pooled"].shape) == ((2, 97, 48), (2, 40))
    assert torch.equal(found["context"][:, :77, :16], parts["clip_l"])
    assert torch.equal(found["context"][:, :77, 16:40], parts["clip_g"])
    assert not found["context"][:, :77, 40:].any()
    assert torch.equal(found["context"][:, 77:], parts["t5"])


def test_encoding_is_that_of_the_whole_pipeline(models: Models) -> None:
    parts = {f"text_encoder{end}": models.text[part] for end, part in (("", "te1"), ("_2", "te2"), ("_3", "te3"))}
    tokenizers = {f"tokenizer{end}": models.extras[part].tokenizer for end, part in (("", "te1"), ("_2", "te2"))}
    pipeline = StableDiffusion3Pipeline(
        transformer=None, vae=None, scheduler=None, **parts, **tokenizers, tokenizer_3=None
    )
    with torch.no_grad():
        clips = [pipeline._get_clip_prompt_embeds(list(CAPTIONS), clip_model_index=number) for number in (0, 1)]
    found = said(models)
    for (states, pooled), name in zip(clips, ("clip_l", "clip_g"), strict=True):
        torch.testing.assert_close(found[name], states)
        torch.testing.assert_close(found[f"{name}_pooled"], pooled)
    # the pipeline's T5 tokenizer wants the library's class; the ids are compared where ours is tested
    ids, _ = models.extras["te3"].ids(CAPTIONS, 256)
    torch.testing.assert_close(found["t5"], models.text["te3"](ids)[0].detach())


def test_absent_t5_is_seventy_seven_tokens_of_zeros(tmp_path: Path) -> None:
    models = loaded(tiny.write_folder(tmp_path / "tiny", t5=False), TEXT)
    context = whole(models)["context"]
    assert context.shape == (2, 154, 48)
    assert not context[:, 77:].any()


@pytest.mark.parametrize("live", [("te1",), ("te1", "te2"), ("te3",)])
def test_encoders_apart_say_what_they_say_together(models: Models, live: tuple[str, ...]) -> None:
    apart = [{name: models.text[name] for name in models.text if (name in live) is wanted} for wanted in (True, False)]
    first, second = (said(replace(models, text=some)) for some in apart)
    joined = TextConditioning({**first.tensors, **second.tensors})
    assert len(joined.tensors) == len(first.tensors) + len(second.tensors) == 5
    assert same(text.assembled(joined, tiny.CONTEXT), whole(models)) == [True, True]


def test_a_caption_is_encoded_the_same_in_any_company(models: Models) -> None:
    for name, tensor in said(models).tensors.items():
        torch.testing.assert_close(said(models, CAPTIONS[1:])[name], tensor[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "changed"), [("apply_lg_attn_mask", ["clip_g", "clip_l"]), ("apply_t5_attn_mask", ["t5"])]
)
def test_attention_masks_reach_their_own_encoders_only(models: Models, option: str, changed: list[str]) -> None:
    plain, masked = said(models), said(models, **switch(option, on=True))
    moved = [name for name in plain.tensors if not torch.allclose(plain[name], masked[name], atol=1e-4)]
    assert sorted(moved) == changed


def test_longer_captions_count_only_as_far_as_t5_reads(models: Models) -> None:
    captions = ["word " * 20 + ending for ending in ("cat", "dog")]
    short, long = (said(models, captions, t5xxl_max_token_length=length)["t5"] for length in (40, 200))
    assert torch.equal(short[0], short[1])
    assert not torch.equal(long[0], long[1])


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("clip_l_dropout_rate", {"clip_l", "clip_l_pooled"}),
        ("clip_g_dropout_rate", {"clip_g", "clip_g_pooled"}),
        ("t5_dropout_rate", {"t5"}),
    ],
)
def test_dropped_encoder_is_zeros_in_training_only(models: Models, option: str, names: set[str]) -> None:
    dropped = prepared(said(models), **switch(option, on=1.0))
    assert {name for name, tensor in dropped.tensors.items() if not tensor.any()} == names
    kept = prepared(said(models), training=False, **switch(option, on=1.0))
    assert same(kept, said(models), list(kept.tensors)) == [True] * 5


def test_batch_that_brings_its_context_keeps_it() -> None:
    brought = TextConditioning({"context": torch.ones(2, 5, 8), "pooled": torch.ones(2, 4)})
    rates: dict[str, Any] = {"clip_l_dropout_rate": 1.0, "clip_g_dropout_rate": 1.0, "t5_dropout_rate": 1.0}
    assert same(text.assembled(prepared(brought, **rates), 8), brought) == [True, True]


@pytest.mark.parametrize("name", ["te1", "te2", "te3"])
def test_gradients_reach_an_encoder_that_trains(folder: Path, name: str) -> None:
    models = loaded(folder, TEXT)
    models.text[name].requires_grad_()
    found = text.assembled(text.encode(models, CAPTIONS, config_of()), tiny.CONTEXT)
    torch.autograd.backward(found["context"].sum() + found["pooled"].sum())
    assert any(weight.grad is not None and weight.grad.any() for weight in models.text[name].parameters())


def test_t5_may_run_in_a_precision_of_its_own(folder: Path, models: Models) -> None:
    half = said(loaded(folder, TEXT, t5xxl_dtype="bf16"))
    assert (half["t5"].dtype, half["clip_l"].dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(half["t5"].float(), said(models)["t5"], rtol=0.1, atol=0.1)
    assert text.assembled(half, tiny.CONTEXT)["context"].dtype == torch.float32


def test_t5_may_run_on_a_device_of_its_own(folder: Path) -> None:
    models = loaded(folder, TEXT)
    models.text["te3"].to("meta")  # the only other device that every machine has
    found = said(models)
    assert {name: tensor.device.type for name, tensor in found.tensors.items()} == {
        "clip_l": "cpu",
        "clip_l_pooled": "cpu",
        "clip_g": "cpu",
        "clip_g_pooled": "cpu",
        "t5": "meta",
    }
