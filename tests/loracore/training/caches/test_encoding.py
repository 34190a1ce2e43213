from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loracore import DataError, Latents, TextConditioning, hookimpl
from loracore.training.caches.encoding import stored_dtype
from tests.loracore.training.conftest import DISK, Trained, Watch


class Sizes(Watch):
    """Notes the shapes that are encoded at once."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.texts: list[int] = []

    @hookimpl(wrapper=True)
    def encode_images(self, images: torch.Tensor) -> Generator[None, Latents, Latents]:
        self.shapes.append(tuple(images.shape))
        return (yield)

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, object, object]:
        self.texts.append(len(captions))
        return (yield)


def test_pictures_of_one_size_are_encoded_together(trained: Trained) -> None:
    sizes = Sizes()
    trained("--vae_batch_size", "2", "--text_encoder_batch_size", "4", watch=sizes)
    assert sorted(sizes.shapes) == [(1, 3, 48, 80), (1, 3, 64, 64), (2, 3, 48, 80), (2, 3, 64, 64)]
    assert sizes.texts == [4, 2]


def test_pictures_and_their_mirror_images_are_encoded_apart(trained: Trained, pictures: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    for path in pictures.glob("*.png"):
        Image.fromarray(ramp).save(path)
    watch = trained("--flip_aug", "--vae_batch_size", "6").watch
    darker_left = [bool(image[0, :, 0].mean() < image[0, :, -1].mean()) for image in watch.images]
    assert darker_left == [True] * 6 + [False] * 6


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(torch.float32, torch.float32), (torch.float16, torch.float16), (torch.bfloat16, torch.float16)],
)
def test_half_precision_is_stored_in_half_precision(dtype: torch.dtype, stored: torch.dtype) -> None:
    assert stored_dtype(dtype) == stored


def test_twenty_pictures_that_are_not_finite_say_enough(trained: Trained, pictures: Path) -> None:
    class Overflow(Watch):
        @hookimpl(wrapper=True)
        def encode_images(self, images: torch.Tensor) -> Generator[None, Latents, Latents]:
            self.images += list(images)
            latents = yield
            return Latents(latents.mean, latents.log_variance * float("nan"))

    for number in range(6, 30):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(pictures / f"{number}.png")
    with pytest.raises(DataError, match="may be damaged") as caught:
        trained(*DISK, watch=Overflow())
    assert len(caught.value.problems) == 21
    assert str(caught.value.problems[-1]) == "these are the first 20; encoding stopped there, so that there may be more"


class Silent(Watch):
    """Gives conditioning that is not finite for some captions."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, TextConditioning, TextConditioning]:
        said = yield
        self.captions += captions
        worth = torch.tensor([torch.nan if caption.endswith(self.words) else 1.0 for caption in captions])
        return TextConditioning({name: (tensor.T * worth).T for name, tensor in said.tensors.items()})


@pytest.mark.parametrize(
    ("precision", "fix"), [("no", "file may be damaged"), ("fp16", "mixed_precision bf16"), ("bf16", "precision no")]
)
def test_captions_that_are_not_finite_are_named_and_the_others_kept(
    trained: Trained, pictures: Path, precision: str, fix: str
) -> None:
    for number in range(6):
        (pictures / f"{number}.txt").write_text(f"caption {number}", "utf-8")
    words = (*DISK, "--mixed_precision", precision, "--text_encoder_batch_size", "4")
    with pytest.raises(DataError, match=fix) as caught:
        trained(*words, watch=Silent("3", "5"))
    told = {problem.where for problem in caught.value.problems}
    assert told == {'caption "caption 3"', 'caption "caption 5"'}
    with pytest.raises(DataError, match=fix):
        trained(*words, watch=(again := Silent("3", "5")))
    assert sorted(again.captions) == ["caption 3", "caption 5"]


def test_twenty_captions_that_are_not_finite_say_enough(trained: Trained, pictures: Path) -> None:
    for number in range(6, 40):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"caption {number}", "utf-8")
    with pytest.raises(DataError, match="not finite") as caught:
        trained(*DISK, "--text_encoder_batch_size", "8", watch=Silent(""))
    assert len(caught.value.problems) == 21
    assert "these are the first 20" in str(caught.value)


class Stop(Watch):
    """Ends a run as by Ctrl+C after some captions."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, object, object]:
        if len(self.captions) >= self.after:
            raise KeyboardInterrupt
        self.captions += captions
        return (yield)


def test_an_interrupted_run_keeps_the_captions_it_has_encoded(trained: Trained) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(*DISK, "--text_encoder_batch_size", "1", watch=Stop(4))
    assert trained(*DISK, watch=Stop(99)).watch.encoded == (6, 2)
