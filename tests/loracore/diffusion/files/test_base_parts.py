"""The chosen parts, whatever each comes from, in the order in which they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.diffusion.files.base_parts import found_parts
from loracore.diffusion.files.folders import ModelFolder
from loracore.diffusion.files.loading import building_quietly
from loracore.diffusion.files.parts import PartKind, Shapes
from loracore.diffusion.options import VaeOptions
from loracore.errors import ConfigError
from loracore.weights.layout import same_names

STANDARD, IN_BASE, IN_FILE = 4, 2, 3


class Content:
    """Knows every file and folder as its own."""

    def check_names(self, shapes: Shapes, path: Path) -> None: ...
    def check_folder(self, folder: ModelFolder) -> None: ...


def kind(name: str, **more: Any) -> PartKind:
    """One matrix, whose width tells where it is from."""
    return PartKind(
        name=name,
        group="text",
        label=name,
        folder=name,
        prefix=f"{name}.",
        build=building_quietly()(lambda settings: nn.Linear(settings["width"], 1, bias=False)),
        standard=lambda: {"width": STANDARD},
        config_of=lambda own, _: {"width": own["weight"][1]},
        names=lambda module, _: same_names(module.state_dict()),
        **more,
    )


def widths(folder: Path, *, base: bool, any_size: bool) -> list[tuple[str, int]]:
    """Names and widths of three parts: te1 and te2 are in the base model, te2 in a file of its own, te3 in neither."""
    save_file({f"{name}.weight": torch.ones(1, IN_BASE) for name in ("te1", "te2")}, folder / "base.safetensors")
    save_file({"weight": torch.ones(1, IN_FILE)}, folder / "own.safetensors")
    kinds = [kind("te3", optional=True), kind("te1"), kind("te2", bare=("weight",), option="te2")]
    model = ModelOptions(pretrained_model_name_or_path=str(folder / "base.safetensors") if base else None)
    config, files = Config([model, VaeOptions()], {}), {"te2": str(folder / "own.safetensors")}
    found = found_parts(kinds, kinds, config, Content(), half_first=False, any_size=any_size, files=files)
    return [(name, part.module.get_parameter("weight").shape[1]) for name, part in found.items()]


@pytest.mark.parametrize("any_size", [False, True])
def test_a_file_of_its_own_wins_and_an_optional_part_that_is_nowhere_is_left_out(
    tmp_path: Path, *, any_size: bool
) -> None:
    assert widths(tmp_path, base=True, any_size=any_size) == [("te1", IN_BASE), ("te2", IN_FILE)]


def test_without_a_base_model_any_size_means_the_architecture_s_own(tmp_path: Path) -> None:
    expected = [("te3", STANDARD), ("te1", STANDARD), ("te2", IN_FILE)]
    assert widths(tmp_path, base=False, any_size=True) == expected
    with pytest.raises(ConfigError, match="no base model is given"):
        widths(tmp_path, base=False, any_size=False)
