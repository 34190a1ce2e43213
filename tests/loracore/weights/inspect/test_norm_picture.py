"""The picture has a panel for each part and a bar for each block."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from loracore.weights.inspect.inspecting import inspect_file
from loracore.weights.inspect.norm_picture import norm_picture
from tests.loracore.weights.network_files import lora, pair, write

BAR = (126, 166, 216)  # as norm_picture draws it


def drawn(path: Path, tensors: dict[str, torch.Tensor]) -> Image.Image:
    return Image.open(BytesIO(norm_picture(inspect_file(write(path / "file.safetensors", tensors))))).convert("RGB")


def test_parts_stand_side_by_side(tmp_path: Path) -> None:
    one = drawn(tmp_path, pair("lora_unet_blocks_0_q", 8, 8, 2))
    two = drawn(tmp_path, lora())
    assert two.width > one.width * 1.4


def test_a_network_that_changes_nothing_has_no_bars(tmp_path: Path) -> None:
    tensors = pair("lora_unet_blocks_0_q", 8, 8, 2)
    assert BAR in set(drawn(tmp_path, tensors).get_flattened_data())
    tensors["lora_unet_blocks_0_q.lora_up.weight"].zero_()
    area = drawn(tmp_path, tensors).crop((0, 0, 400, 200))
    assert BAR not in set(area.get_flattened_data())


def test_names_that_look_like_formulas_are_shown_as_they_are(tmp_path: Path) -> None:
    tensors = pair("lora_unet_$bad{_0_q", 8, 8, 2)
    assert drawn(tmp_path, tensors).width > 100
