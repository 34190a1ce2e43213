"""Tokenizers that know no word: on the meta device only the number of tokens matters, and no file need be there."""

from __future__ import annotations

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from loracore.diffusion.text.clip_text import ClipTokenizer
from loracore.diffusion.text.t5_text import END, PADDING, T5Tokenizer

_START = "<start>"


def wordless_tokenizer(*, t5: bool) -> ClipTokenizer | T5Tokenizer:
    """Return a tokenizer that turns every word into the end token; what it gives is as long as from a real one."""
    return _t5() if t5 else _clip()


def _clip() -> ClipTokenizer:
    words = Tokenizer(models.WordLevel({_START: 0, END: 1}, unk_token=END))
    fast = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=_START, eos_token=END, pad_token=END)
    return ClipTokenizer.of(fast)


def _t5() -> T5Tokenizer:
    return T5Tokenizer(Tokenizer(models.WordLevel({PADDING: 0, END: 1}, unk_token=END)))
