from __future__ import annotations

import pytest

from loracore import DataError, hookimpl
from tests.loracore.training.conftest import DISK, Trained, Watch

EVERY = frozenset({"text", "vae", "denoiser"})
LATENTS, TEXTS = DISK


class Looked(Watch):
    """Notes which parts a run has looked at, and what had been encoded by then; finds one of them ``damaged``."""

    def __init__(self, damaged: str = "") -> None:
        super().__init__()
        self.damaged = damaged
        self.looks: list[frozenset[str]] = []
        self.encoded_before: tuple[int, int] = (0, 0)

    @hookimpl
    def check_models(self, parts: frozenset[str]) -> None:
        self.looks.append(parts)
        self.encoded_before = self.encoded
        if self.damaged in parts:
            message = f"the file of {self.damaged} is damaged"
            raise DataError(message)


def looks(trained: Trained, *words: str) -> list[set[str]]:
    watch = Looked()
    trained(*words, watch=watch)
    assert watch.encoded_before == (0, 0)
    return [set(parts) for parts in watch.looks]


def test_what_the_caches_hold_needs_no_look_at_its_files(trained: Trained) -> None:
    first = looks(trained, *DISK)
    assert first == [{"denoiser"}, {"text", "vae"}]
    assert looks(trained, *DISK) == [{"denoiser"}]


def test_what_the_caches_lack_is_looked_at_before_it_is_loaded(trained: Trained) -> None:
    looks(trained, *DISK)
    assert looks(trained, *DISK, "--caption_prefix", "new") == [{"denoiser"}, {"text"}]
    assert looks(trained, *DISK, "--flip_aug") == [{"denoiser"}, {"text", "vae"}]


@pytest.mark.parametrize(
    ("words", "at_once"),
    [
        ((), EVERY),
        ((TEXTS,), EVERY),
        ((LATENTS,), {"denoiser", "text"}),
        ((LATENTS, "--no_network_train_unet_only"), {"denoiser", "text"}),
    ],
    ids=["in memory", "texts", "latents", "training text"],
)
def test_what_every_run_loads_is_looked_at_first(
    trained: Trained, words: tuple[str, ...], at_once: frozenset[str]
) -> None:
    looks(trained, *words)
    assert looks(trained, *words)[0] == at_once


@pytest.mark.parametrize("damaged", ["text", "vae"])
def test_a_damaged_file_is_told_before_anything_is_encoded(trained: Trained, damaged: str) -> None:
    watch = Looked(damaged)
    with pytest.raises(DataError, match="is damaged"):
        trained(*DISK, watch=watch)
    assert (watch.encoded, watch.loaded) == ((0, 0), set())
