"""What the file of a preview says of how it was drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

#: What samplers are called in the text that AUTOMATIC1111's web UI writes, and reads back, as many tools do.
_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "ddim": "DDIM",
        "pndm": "PLMS",
        "lms": "LMS",
        "euler": "Euler",
        "euler_a": "Euler a",
        "heun": "Heun",
        "dpm_2": "DPM2",
        "dpm_2_a": "DPM2 a",
        "dpmsolver++": "DPM++ 2M",
        "dpmsingle": "DPM++ 2S",
    }
)
_PARAMETERS = "parameters"  # the web UI's key
_OWN = "loracore"  # ours: the same as JSON


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a preview was drawn, and of what; no paths."""

    prompt: str
    negative_prompt: str
    steps: int
    sampler: str
    scale: float
    seed: int
    width: int  # pixels
    height: int
    step: int
    epoch: int
    model: str
    lora: str


def write_png(picture: Image, drawn: Drawn, path: Path) -> None:
    """Write the picture, and how it was drawn as text beside it; the file stands whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    info.add_text(_PARAMETERS, parameters(drawn))
    info.add_text(_OWN, json.dumps(asdict(drawn), ensure_ascii=False))
    unfinished = path.with_name(f".{path.name}.part")
    try:
        picture.save(unfinished, format="PNG", pnginfo=info)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def parameters(drawn: Drawn) -> str:
    """Return the text as AUTOMATIC1111's web UI writes it."""
    lines = [drawn.prompt]
    if drawn.negative_prompt:
        lines.append(f"Negative prompt: {drawn.negative_prompt}")
    values = {
        "Steps": drawn.steps,
        "Sampler": _LABELS.get(drawn.sampler.removeprefix("k_"), drawn.sampler),
        "CFG scale": f"{drawn.scale:g}",
        "Seed": drawn.seed,
        "Size": f"{drawn.width}x{drawn.height}",
        "Model": drawn.model,
        "Lora": drawn.lora,
        "Training step": drawn.step,
        "Training epoch": drawn.epoch,
    }
    lines.append(", ".join(f"{name}: {_quoted(str(value))}" for name, value in values.items()))
    return "\n".join(lines)


def short_name(model: str) -> str:
    """Return what a file, a folder or a hub id is called, without where it is."""
    name = re.split(r"[\\/]+", model.rstrip("\\/"))[-1]
    return name.removesuffix(".safetensors")


def _quoted(value: str) -> str:
    """Return a value in quotes where the web UI would part it."""
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ',:\n"') else value
