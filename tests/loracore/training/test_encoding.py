from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loracore import DataError, Latents, hookimpl
from loracore.training.encoding import stored_dtype
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
    assert len(caught.value.problems) == 20


def test_an_interrupted_run_keeps_the_captions_it_has_encoded(trained: Trained) -> None:
    class Stop(Watch):
        @hookimpl(wrapper=True)
        def encode_text(self, captions: list[str]) -> Generator[None, object, object]:
            if self.captions:
                raise KeyboardInterrupt
            self.captions += captions
            return (yield)

    with pytest.raises(KeyboardInterrupt):
        trained(*DISK, "--text_encoder_batch_size", "4", watch=Stop())
    assert trained(*DISK).watch.encoded == (6, 2)
