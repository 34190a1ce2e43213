from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from loracore import DataError, Latents, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.data.store.memory import MemoryStore
from loracore.data.store.store import Store
from loracore.testing.installing import install_metadata
from loracore.training.assembly.phases import Loading
from loracore.training.caches.caching import fill_latents, fill_texts, open_store
from loracore.training.caches.picture_keys import picture_keys
from loracore.training.processes import Processes
from loracore.types import FieldFiles
from tests.loracore.training.beside import BOTH, Beside
from tests.loracore.training.conftest import DISK, Trained, Watch, WriteData, aged

NOTHING = (0, 0)


@pytest.fixture
def other_cache(tmp_path: Path) -> str:
    """Return a cache folder that nobody has used."""
    return str(tmp_path / "other")


def test_a_second_run_loads_neither_vae_nor_text_encoders(trained: Trained) -> None:
    first, second = trained(*DISK), trained(*DISK)
    assert (first.watch.loaded, first.watch.encoded) == ({"text", "vae", "denoiser"}, (6, 6))
    assert (second.watch.loaded, second.watch.encoded) == ({"denoiser"}, NOTHING)
    assert second.equals(first)


def test_caches_on_disk_in_memory_and_none_make_the_same_file(trained: Trained) -> None:
    on_disk = trained(*DISK)
    assert on_disk.equals(trained())
    assert on_disk.equals(trained("--no_cache_latents"))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_half_precision_a_run_that_reads_the_cache_equals_the_one_that_filled_it(
    trained: Trained, precision: str
) -> None:
    words = (*DISK, "--mixed_precision", precision)
    first, second = trained(*words), trained(*words)
    assert second.watch.encoded == NOTHING
    assert second.equals(first)


def test_only_caches_on_disk_are_noted(trained: Trained) -> None:
    assert trained().watch.notes == []
    assert trained(*DISK).watch.notes == [
        "captions: 0 from the cache, 6 encoded now",
        "latents: 0 from the cache, 6 encoded now",
    ]
    assert trained(DISK[0]).watch.notes == ["latents: 6 from the cache, 0 encoded now"]
    assert trained(DISK[1]).watch.notes == ["captions: 6 from the cache, 0 encoded now"]


@pytest.mark.parametrize(
    ("words", "encoded"),
    [
        (("--caption_prefix", "a photo of "), (0, 6)),
        (("--class_tokens", "unused"), NOTHING),
        (("--resolution", "48"), (6, 0)),
        (("--no_enable_bucket",), (3, 0)),  # square pictures have one bucket either way
        (("--max_bucket_reso", "64"), (3, 0)),
        (("--resize_interpolation", "nearest"), (6, 0)),
        (("--alpha_mask", "--masked_loss"), (6, 0)),
        (("--flip_aug",), (6, 0)),  # the mirror images alone
        (("--mixed_precision", "bf16"), (6, 6)),
        (("--fp8_base",), (0, 6)),
        (("--train_batch_size", "1", "--learning_rate", "1e-3", "--network_dim", "2"), NOTHING),
    ],
)
def test_an_option_encodes_again_exactly_what_it_changes(
    trained: Trained, words: tuple[str, ...], encoded: tuple[int, int], other_cache: str
) -> None:
    before = trained(*DISK)
    changed = trained(*DISK, *words)
    assert changed.watch.encoded == encoded
    assert changed.equals(trained(*DISK, *words, "--cache_dir", other_cache))
    back = trained(*DISK)
    assert back.watch.encoded == NOTHING
    assert back.equals(before)


class Model(Watch):
    """Says which base model this is, whatever its options are."""

    def __init__(self, **names: str) -> None:
        super().__init__()
        self.names = names

    @hookimpl(wrapper=True)
    def cache_identity(self, part: str) -> Generator[None, str, str]:
        yield
        return self.names.get(part, "plain")


def test_an_option_of_a_plugin_that_affects_the_latents_makes_others(trained: Trained, toy_site: Path) -> None:
    points = {"loracore.extensions": {"affecting": "tests.loracore.training.affecting"}}
    install_metadata(toy_site, "loracore-affecting", "1.0", points)

    def encoded(*words: str) -> tuple[int, int]:
        return trained(*DISK, "--extensions", "affecting", *words, watch=Model()).watch.encoded

    assert encoded() == (6, 6)
    assert encoded("--brightness", "2") == (6, 0)
    assert encoded("--accent", "2") == (0, 6)
    assert encoded("--brightness", "2", "--accent", "2") == NOTHING


def test_another_vae_or_text_encoder_has_entries_of_its_own(trained: Trained) -> None:
    trained(*DISK, watch=Model())
    assert trained(*DISK, watch=Model(vae="better")).watch.encoded == (6, 0)
    assert trained(*DISK, watch=Model(text="better")).watch.encoded == (0, 6)
    assert trained(*DISK, watch=Model(vae="better", text="better")).watch.encoded == NOTHING
    assert trained(*DISK, watch=Model()).watch.encoded == NOTHING


def recoloured(path: Path) -> bytes:
    before = path.read_bytes()
    with Image.open(path) as image:
        size = image.size
    Image.new("RGB", size, (1, 2, 3)).save(path)
    return before


def test_a_changed_picture_is_encoded_again_and_the_old_one_still_known(
    trained: Trained, pictures: Path, other_cache: str
) -> None:
    before = trained(*DISK)
    old = recoloured(pictures / "3.png")
    changed = trained(*DISK)
    assert changed.watch.encoded == (1, 0)
    assert changed.equals(trained(*DISK, "--cache_dir", other_cache))
    (pictures / "3.png").write_bytes(old)
    back = trained(*DISK)
    assert back.watch.encoded == NOTHING
    assert back.equals(before)


@pytest.mark.parametrize(("seconds", "more"), [(1_000_000_001, b""), (1_000_000_000, b"x")])
def test_a_picture_with_another_time_or_another_length_is_looked_at(
    trained: Trained, pictures: Path, seconds: int, more: bytes
) -> None:
    path = aged(pictures / "3.png").rename(pictures / "3.bmp")
    Image.new("RGB", (64, 64), (200, 0, 0)).save(path)  # BMP: as long whatever its colours are
    aged(path)
    trained(*DISK)
    Image.new("RGB", (64, 64), (0, 200, 0)).save(path)
    path.write_bytes(path.read_bytes() + more)
    aged(path, seconds)
    assert trained(*DISK).watch.encoded == (1, 0)


def test_a_picture_that_was_only_touched_is_not_encoded_again(trained: Trained, pictures: Path) -> None:
    trained(*DISK)
    aged(pictures / "3.png")
    assert trained(*DISK).watch.encoded == NOTHING


def test_a_changed_caption_is_encoded_again(trained: Trained, pictures: Path, other_cache: str) -> None:
    words = (*DISK, "--text_encoder_batch_size", "1")  # what stands beside a caption changes its last bit
    trained(*words)
    (pictures / "3.txt").write_text("something new", encoding="utf-8")
    changed = trained(*words)
    assert changed.watch.encoded == (0, 1)
    assert changed.watch.captions == ["something new"]
    assert changed.equals(trained(*words, "--cache_dir", other_cache))


def test_moved_pictures_and_those_of_two_data_sets_are_encoded_once(
    trained: Trained, pictures: Path, write_data: WriteData
) -> None:
    trained(*DISK)
    moved = pictures.rename(pictures.with_name("moved"))
    subset = {"image_dir": str(moved)}
    twice = trained(*DISK, *write_data({"subsets": [subset]}, {"batch_size": 3, "subsets": [subset]}))
    assert twice.watch.encoded == NOTHING


def test_what_several_data_sets_share_is_counted_once(trained: Trained, pictures: Path, write_data: WriteData) -> None:
    subset = {"image_dir": str(pictures)}
    words = write_data({"subsets": [subset]}, {"batch_size": 3, "subsets": [{**subset, "flip_aug": True}]})
    fresh, again = (trained(*DISK, *words).watch for _ in range(2))
    assert fresh.encoded == (12, 6)
    assert fresh.notes[1:] == ["latents: 0 from the cache, 12 encoded now"]
    assert again.notes[1:] == ["latents: 12 from the cache, 0 encoded now"]
    flips = {name: {one.flipped for one in batch.framings} for batch in fresh.batches for name in batch.ids}
    assert set().union(*flips.values()) == {False, True}


def test_each_resolution_of_a_folder_is_encoded(trained: Trained, pictures: Path, write_data: WriteData) -> None:
    subsets = [{"image_dir": str(pictures)}]
    words = write_data(*({"resolution": size, "subsets": subsets} for size in (64, 48, 64)))
    assert trained(*DISK, *words).watch.encoded == (12, 6)
    assert trained(*DISK, *words).watch.encoded == NOTHING


def test_an_interrupted_filling_goes_on_where_it_stopped(trained: Trained) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(*DISK, watch=Watch(stop_after=4))
    after = trained(*DISK)
    assert after.watch.encoded == (2, 0)
    assert after.equals(trained())


class Overflow(Watch):
    """Gives latents that are not finite for one picture."""

    @hookimpl(wrapper=True)
    def encode_images(self, images: torch.Tensor) -> Generator[None, Latents, Latents]:
        latents = yield
        self.images += list(images)
        white = images.amax(dim=(1, 2, 3)) == images.amin(dim=(1, 2, 3))
        worth = torch.where(white, torch.inf, 1.0)[:, None, None, None]
        return Latents(latents.mean * worth, latents.log_variance)


def test_finite_latents_are_kept_beside_those_that_are_not(trained: Trained, pictures: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(pictures / "3.png")
    with pytest.raises(DataError, match="no_half_vae") as caught:
        trained(*DISK, "--mixed_precision", "bf16", watch=Overflow())
    assert [problem.where for problem in caught.value.problems] == [str(pictures / "3.png")]
    with pytest.raises(DataError, match="no_half_vae"):
        trained(*DISK, "--mixed_precision", "bf16", watch=(again := Overflow()))
    assert again.encoded == (1, 0)


def test_what_wraps_the_encoding_has_entries_of_its_own(trained: Trained) -> None:
    assert trained(*DISK).watch.encoded == (6, 6)
    assert trained(*DISK, watch=Overflow()).watch.encoded == (6, 6)  # it wraps both hooks
    assert trained(*DISK).watch.encoded == NOTHING


def test_what_is_encoded_at_once_does_not_matter_to_the_store(trained: Trained) -> None:
    on_disk = trained(*DISK, "--vae_batch_size", "4", "--text_encoder_batch_size", "2")
    assert on_disk.watch.encoded == (6, 6)
    assert trained(*DISK).watch.encoded == NOTHING


class Peek(Watch):
    """Counts what others could find in the store whenever the VAE is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.found: list[int] = []

    @hookimpl(wrapper=True)
    def encode_images(self, images: torch.Tensor) -> Generator[None, Latents, Latents]:
        self.images += list(images)
        self.found.append(Store(self.folder, read_only=True).usage()[0])
        return (yield)


def test_what_is_encoded_is_stored_while_the_filling_goes_on(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loracore.training.caches.sharing._SECONDS", -1.0)  # every time
    peek = Peek(tmp_path / "cache" / "tensors")
    trained(*DISK, "--max_data_loader_n_workers", "0", watch=peek)
    assert peek.found == [6, 7, 8, 9, 10, 11]  # 6 captions


class Apart(Processes):
    """One of several processes, whose others are in the past or in the future."""

    __slots__ = ()

    def wait(self) -> None:
        """Wait for nobody."""

    def agree(self, number: int) -> int:
        """Take the main process to think alike."""
        return number


def test_a_process_that_looks_late_leaves_nothing_out(toy_config: Path, pictures: Path, tmp_path: Path) -> None:
    request = read_request([str(toy_config), "--cache_dir", str(tmp_path / "cache")])
    cpu = torch.device("cpu")
    loading = Loading(request.plugins.hook, cpu, torch.float32, request.config)
    index = scan(read_datasets(request.config, request.document), Reading()).training
    keys = picture_keys(loading, index, on_disk=True)
    captions = [f"caption {number}" for number in range(40)]
    for number in range(3):  # each sees what those before it have stored
        store = open_store(request.config, on_disk=True)
        own = Apart(cpu, number, 3)
        latents, _ = fill_latents(loading, own, keys, store, on_disk=True)
        text, _ = fill_texts(loading, own, index, captions, ("text",), store, on_disk=True)
    assert (latents.slots[:, 0] >= 0).all()
    assert len(text.batch(captions)) == 40


class Meddling(Watch):
    """Saves another picture under the name of one that has just been hashed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @hookimpl(wrapper=True)
    def load_models(self, parts: frozenset[str], device: torch.device) -> Generator[None, Any, Any]:
        if "vae" in parts and device.type != "meta":
            recoloured(self.path)
        return (yield)


def test_a_picture_that_changes_while_it_is_encoded_is_never_stored(trained: Trained, pictures: Path) -> None:
    old = (pictures / "5.png").read_bytes()
    with pytest.raises(DataError, match="has changed while it was being encoded"):
        trained(*DISK, watch=Meddling(pictures / "5.png"))
    (pictures / "5.png").write_bytes(old)
    assert trained(*DISK).equals(trained())


def shards(tmp_path: Path, suffix: str) -> list[Path]:
    return sorted((tmp_path / "cache" / "tensors").rglob(f"*{suffix}"))


@pytest.mark.parametrize(("suffix", "lost"), [(".data", 50), (".index", 10)])
def test_what_a_shard_that_was_cut_short_lacks_is_made_again_and_said(
    trained: Trained, tmp_path: Path, suffix: str, lost: int
) -> None:
    before = trained(*DISK)
    (shard,) = shards(tmp_path, suffix)
    os.truncate(shard, shard.stat().st_size - lost)
    after = trained(*DISK)
    assert after.watch.encoded == (1, 0)  # the last that was written
    assert any(note.startswith(str(shard)) and "made again" in note for note in after.watch.notes)
    assert after.equals(before)
    assert trained(*DISK).watch.encoded == NOTHING


def test_an_entry_that_cannot_be_read_ends_the_run_and_is_made_again_by_the_next(
    trained: Trained, tmp_path: Path
) -> None:
    before = trained(*DISK)
    (shard,) = shards(tmp_path, ".data")
    shard.write_bytes(shard.read_bytes()[:8] + bytes(56) + shard.read_bytes()[64:])  # its check is whole
    with pytest.raises(DataError, match="it is made anew"):
        trained(*DISK)
    after = trained(*DISK, "--text_encoder_batch_size", "1")
    assert after.watch.encoded == (0, 1)
    assert len(after.watch.losses) == len(before.watch.losses)


def test_all_damaged_entries_are_made_again_before_training(trained: Trained, tmp_path: Path) -> None:
    before = trained(*DISK)
    (shard,) = shards(tmp_path, ".data")
    half = shard.stat().st_size // 2 // 64 * 64
    shard.write_bytes(shard.read_bytes()[:half] + bytes(shard.stat().st_size - half))
    after = trained(*DISK)
    assert sum(after.watch.encoded) > 1
    assert sum(note.startswith(str(shard)) and "made again" in note for note in after.watch.notes) == 1
    assert len(after.watch.losses) == len(before.watch.losses)
    assert trained(*DISK).watch.encoded == NOTHING


class Fields(Watch):
    """Reads the field's files."""

    @hookimpl
    def field_files(self) -> FieldFiles:
        return BOTH


def test_another_tools_files_count_only_while_they_are_there(
    trained: Trained, toy_config: Path, pictures: Path
) -> None:
    path = Beside.of(toy_config).write("1.png")
    np.savez(pictures / "1_toy_te.npz", first=np.ones(3, dtype=np.float32), second=np.ones(5, dtype=np.float32))
    first, second = (trained(*DISK, watch=Fields()) for _ in range(2))
    assert [first.watch.encoded, second.watch.encoded] == [(5, 5), NOTHING]
    said = [note for note in second.watch.notes if "is not recorded" in note]
    assert [note[:10] for note in said] == ["1 captions", "1 latents "]
    assert second.equals(first)
    path.unlink()
    (pictures / "1_toy_te.npz").unlink()
    without = trained(*DISK, watch=Fields())
    assert without.watch.encoded == (1, 1)
    assert not without.equals(first)


class Divided(Apart):
    """One process for which the main one sees other files."""

    __slots__ = ()

    def agree(self, number: int) -> int:
        """Give what differs from this process's number."""
        return number + 1


def test_processes_that_see_other_files_stop(toy_config: Path, pictures: Path) -> None:
    beside, own = Beside.of(toy_config), Divided(torch.device("cpu"), 1, 2)
    with pytest.raises(DataError, match="have changed while the run was starting"):
        fill_latents(beside.loading, own, beside.keys, MemoryStore(), on_disk=True)
