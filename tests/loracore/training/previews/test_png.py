from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from loracore.training.previews.png import Drawn, parameters, short_name, write_png

DRAWN = Drawn("ein Käfer, 猫", "blurry", 20, "euler_a", 7.0, 42, 64, 32, 250, 2, "base, v2", "my")


def test_parameters_are_those_of_the_web_ui() -> None:
    asked, unwanted, how = parameters(DRAWN).splitlines()
    assert (asked, unwanted) == ("ein Käfer, 猫", "Negative prompt: blurry")
    assert how.startswith("Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x32, ")
    assert how.endswith('Model: "base, v2", Lora: my, Training step: 250, Training epoch: 2')


def test_a_file_holds_the_picture_and_both_texts(tmp_path: Path) -> None:
    path = tmp_path / "sample" / "one.png"
    write_png(Image.new("RGB", (64, 32), "red"), DRAWN, path)
    with Image.open(path) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((64, 32), (255, 0, 0))
        assert picture.info["parameters"] == parameters(DRAWN)
        assert json.loads(picture.info["loracore"]) == asdict(DRAWN)
    assert [one.name for one in path.parent.iterdir()] == ["one.png"]


def test_names_of_models_are_no_paths() -> None:
    names = ["/models/base.safetensors", "C:\\models\\base.safetensors", "models/base/", "org/base"]
    assert {short_name(name) for name in names} == {"base"}
