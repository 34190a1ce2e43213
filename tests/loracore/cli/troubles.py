"""A folder with one of each trouble that pictures, captions, masks and data-set files can have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

DATA_SET = """\
[general]
caption_extension = ".txt"
enable_bucket = true
resolution = 128
min_bucket_reso = 64
max_bucket_reso = 256

[[datasets]]
batch_size = 2
[[datasets.subsets]]
image_dir = "pictures"
num_repeat = 10
num_repeats = 3
[[datasets.subsets]]
image_dir = "gone"
[[datasets.subsets]]
image_dir = "empty"

[[datasets]]
[[datasets.subsets]]
image_dir = "pictures"
metadata_file = "broken.json"

[[datasets]]
[[datasets.subsets]]
image_dir = "masked"
conditioning_data_dir = "masks"

[[datasets]]
bucket_no_upscale = true
[[datasets.subsets]]
image_dir = "thin"
"""

#: What is said of each trouble that must stop a run: where, and a part of the message.
WRONG = (
    ("data.toml:12", "unknown key 'num_repeat'"),
    ("data.toml:15", "the folder 'gone' does not exist"),
    ("data.toml:17", "the folder 'empty' holds no pictures"),
    ("broken.json:1", "the list is not JSON"),
    ("pictures/latin.txt", "not UTF-8"),
    ("pictures/text.jpg", "no picture format that can be read"),
    ("pictures/zero.png", "cannot be "),
    ("pictures/cut.png", "cannot be decoded"),
    ("pictures/cut-too.jpg", "cannot be decoded"),
    ("masked/lacks.png", "there is no mask for it in masks"),
    ("masks/other.png", "the mask is 64x64, its picture 128x128"),
    ("masked/torn.png", "its mask cannot be decoded"),
    ("thin/sliver.png", "thinner than one bucket step"),
)

#: What is said of each trouble that a run can live with.
WARNED = (
    "have no caption file (.txt) and take an empty caption: nothing.png",
    "the caption is empty for blank.png",
    "1 picture of other formats cannot be read here: .heic",
    "1 picture is animated, only the first frame is trained: moving.gif",
    "two captions, .txt and .caption, that differ; .txt is used: both.png",
    "1 mask without a picture in masked",
    "enlarged 2 times or more, which teaches blur: ribbon.png (1200x10), tiny.png (16x16)",
    "by cutting: ribbon.png (1200x10)",
    "the same, byte for byte, with different captions: pictures/twin-1.png, pictures/twin-2.png",
)

#: Pictures with which nothing is wrong, however strange: name → size as it is seen.
STRANGE = {"UPPER.PNG": [128, 128], "cmyk.jpg": [128, 128], "deep.png": [128, 128], "turned.jpg": [96, 160]}


def write_troubles(root: Path) -> None:
    """Write the data-set file and all its folders."""
    (root / "data.toml").write_text(DATA_SET, encoding="utf-8")
    (root / "broken.json").write_text('{"a": {"caption": "x"', encoding="utf-8")
    for name in ("pictures", "empty", "masked", "masks", "thin"):
        (root / name).mkdir()
    _write_pictures(root / "pictures")
    _write_captions(root / "pictures")
    _save(root / "thin" / "sliver.png", (2000, 20))
    (root / "thin" / "sliver.txt").write_text("a line", encoding="utf-8")
    for name in ("has", "lacks", "other", "torn"):
        _save(root / "masked" / f"{name}.png")
        (root / "masked" / f"{name}.txt").write_text("masked", encoding="utf-8")
    for name, size in (("has", (128, 128)), ("other", (64, 64)), ("torn", (128, 128)), ("spare", (64, 64))):
        _save(root / "masks" / f"{name}.png", size)
    _cut(root / "masks" / "torn.png")


def _write_pictures(folder: Path) -> None:
    for name in ("whole", "cut", "latin", "mark", "blank", "nothing", "twin-1", "both"):
        _save(folder / f"{name}.png")
    _save(folder / "cut-too.jpg")
    _cut(folder / "cut.png", folder / "cut-too.jpg")
    (folder / "twin-2.png").write_bytes((folder / "twin-1.png").read_bytes())
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture", encoding="utf-8")
    (folder / "phone.heic").write_bytes(b"ftypheic")
    _save(folder / "tiny.png", (16, 16))
    _save(folder / "ribbon.png", (1200, 10))
    _save(folder / "UPPER.PNG")
    _noise("moving.gif").save(folder / "moving.gif", save_all=True, append_images=[_noise("2")])
    _noise("cmyk").convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.full((128, 128), 40_000, np.uint16)).save(folder / "deep.png")
    on_its_side = Image.Exif()
    on_its_side[0x0112] = 6
    _noise("turned", (160, 96)).save(folder / "turned.jpg", exif=on_its_side)


def _write_captions(folder: Path) -> None:
    texts = {"blank": b"", "latin": b"gr\xfcn", "mark": b"\xef\xbb\xbfred", "twin-2": b"a twin", "both": b"a fish, red"}
    names = {path.stem for path in folder.iterdir()} - {"nothing", "phone"}
    for name in names:
        (folder / f"{name}.txt").write_bytes(texts.get(name, b"a fish, blue"))
    (folder / "both.caption").write_text("another fish", encoding="utf-8")


def _save(path: Path, size: tuple[int, int] = (128, 128)) -> None:
    _noise(path.stem, size).save(path)


def _noise(name: str, size: tuple[int, int] = (128, 128)) -> Image.Image:
    """Return a picture that no two names share, and that takes some bytes."""
    rng = np.random.default_rng(list(name.encode()))
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def _cut(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unsaid(expected: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return what stands in none of the lines."""
    return [part for part in expected if not any(part in line for line in lines)]
