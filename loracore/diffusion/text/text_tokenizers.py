"""The tokenizers of the text encoders that architectures share, by the encoders' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loracore.config.config import Config
from loracore.diffusion.files.base_parts import folder_beside
from loracore.diffusion.options import TokenizerOptions
from loracore.diffusion.quiet import quiet_libraries

if TYPE_CHECKING:
    from loracore.diffusion.text.clip_text import ClipTokenizer
    from loracore.diffusion.text.t5_text import T5Tokenizer


@dataclass(frozen=True, slots=True)
class TokenizerPlace:
    """Where a text encoder's tokenizer is."""

    folder: str  # in the diffusers layout
    hub_id: str
    pad_id: int | None = None  # that the encoder was trained with, where that is not the tokenizer's own
    t5: bool = False


#: Each text encoder's, by the name that every architecture with this encoder gives it.
PLACES: Mapping[str, TokenizerPlace] = {
    "te1": TokenizerPlace("tokenizer", "openai/clip-vit-large-patch14"),
    "te2": TokenizerPlace("tokenizer_2", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", pad_id=0),
    "te3": TokenizerPlace("tokenizer_3", "google/t5-v1_1-xxl", t5=True),
}


def tokenizers_for(
    encoders: Iterable[str], config: Config, *, wordless: bool = False
) -> dict[str, ClipTokenizer | T5Tokenizer]:
    """Return the tokenizers of the named text encoders; other parts have none. Raises DataError when one is missing.

    ``wordless`` ones, for models on the meta device, know no word and need no file.
    """
    return {name: _find(PLACES[name], config, wordless=wordless) for name in encoders if name in PLACES}


def _find(place: TokenizerPlace, config: Config, *, wordless: bool) -> ClipTokenizer | T5Tokenizer:
    with quiet_libraries():  # not at the top: runs whose captions are all cached need no tokenizer
        from loracore.diffusion.text.clip_text import ClipTokenizer
        from loracore.diffusion.text.tokenizers import find_t5_tokenizer, find_tokenizer
        from loracore.diffusion.text.wordless_tokenizers import wordless_tokenizer
    if wordless:
        return wordless_tokenizer(t5=place.t5)
    folder, cache = folder_beside(config), config[TokenizerOptions].tokenizer_cache_dir
    if place.t5:
        return find_t5_tokenizer(folder, place.folder, place.hub_id, cache)
    return ClipTokenizer.of(find_tokenizer(folder, place.folder, place.hub_id, cache), place.pad_id)
