"""How the field's ``.npz`` files beside pictures are laid out for this architecture; no torch here."""

from __future__ import annotations

from loracore import Config, FieldFiles, LatentsFile, TextFile, hookimpl
from loracore_sd3.options import Sd3Options


@hookimpl
def field_files(config: Config) -> FieldFiles:
    """Return the layout; those of text also hold the tokens' masks, which are not kept here: none can be written."""
    own = config[Sd3Options]
    columns = {
        "lg_out": {"clip_l": 768, "clip_g": 1280},
        "lg_pooled": {"clip_l_pooled": 768, "clip_g_pooled": 1280},
        "t5_out": {"t5": 4096},
    }
    lengths = {"lg_out": 77, "t5_out": own.t5xxl_max_token_length}
    flags = {"apply_lg_attn_mask": own.apply_lg_attn_mask, "apply_t5_attn_mask": own.apply_t5_attn_mask}
    latents = LatentsFile("_sd3.npz", channels=16, pixels=8, scale=1.5305, shift=0.0609, sized_keys=True)
    encoders = {"te1": 768, "te2": 1280, "te3": 4096}
    text = TextFile("_sd3_te.npz", columns, lengths, encoders, flags, ("t5xxl_max_token_length",), writable=False)
    return FieldFiles(latents, text)
