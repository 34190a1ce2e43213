"""How the field's ``.npz`` files beside pictures are laid out for this architecture; no torch here."""

from __future__ import annotations

from loracore import Config, FieldFiles, LatentsFile, TextFile, hookimpl
from loracore.diffusion.options import CHUNK_TOKENS, chunk_count


@hookimpl
def field_files(config: Config) -> FieldFiles:
    """Return the layout; the arrays of text know nothing of chunks, so that their length tells whether they fit."""
    tokens = CHUNK_TOKENS * chunk_count(config) + 2  # its ends are kept once
    columns = {"hidden_state1": {"context": 768}, "hidden_state2": {"context": 1280}, "pool2": {"pooled": 1280}}
    lengths = {"hidden_state1": tokens, "hidden_state2": tokens}
    latents = LatentsFile("_sdxl.npz", channels=4, pixels=8, scale=0.13025)
    encoders = {"te1": 768, "te2": 1280}
    return FieldFiles(latents, TextFile("_te_outputs.npz", columns, lengths, encoders, recorded=("max_token_length",)))
