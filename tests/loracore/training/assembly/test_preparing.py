from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from loracore import Batch, DataError
from loracore.data.pictures.image_files import readable_suffixes
from loracore.data.tables.folder_table import scan_folder
from loracore.training.assembly.preparing import Preparing, prepare
from loracore.training.processes import Processes
from tests.loracore.training.beside import Beside
from tests.loracore.training.conftest import DISK, Trained, Watch, WriteData, aged

Cut = Callable[[Path], Path]


@pytest.fixture
def cut() -> Cut:
    """Save a picture as a JPEG without its end, whose header is whole."""

    def save(path: Path) -> Path:
        target = path.with_suffix(".jpg")
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(target)
        target.write_bytes(target.read_bytes()[:-800])
        path.unlink()
        return target

    return save


def test_all_broken_pictures_are_named_before_anything_is_encoded(trained: Trained, pictures: Path, cut: Cut) -> None:
    broken, watch = [cut(pictures / f"{number}.png") for number in (1, 3)], Watch()
    with pytest.raises(DataError, match="on_bad_image") as caught:
        trained(*DISK, watch=watch)
    assert [problem.where for problem in caught.value.problems] == [str(path) for path in broken]
    assert (watch.loaded, watch.encoded) == (set(), (0, 0))


@pytest.mark.parametrize("words", [(), DISK, ("--no_cache_latents",), (*DISK, "--flip_aug", "--caption_prefix", "x")])
def test_broken_pictures_are_left_out_and_said_when_asked(
    trained: Trained, pictures: Path, cut: Cut, words: tuple[str, ...]
) -> None:
    broken = cut(pictures / "3.png")
    again, _ = (trained("--on_bad_image", "skip", *words) for _ in range(2))
    assert any(note.startswith(f"left out: {broken}") for note in again.watch.notes)
    assert len({name for ids in again.watch.ids for name in ids}) == 5
    broken.unlink()
    assert again.equals(trained(*words))


def test_a_data_set_of_broken_pictures_is_an_error_even_so(trained: Trained, pictures: Path, cut: Cut) -> None:
    for number in range(6):
        cut(pictures / f"{number}.png")
    with pytest.raises(DataError, match="no picture can be decoded"):
        trained("--on_bad_image", "skip")


def test_equal_broken_pictures_are_all_named_and_left_out(trained: Trained, pictures: Path, cut: Cut) -> None:
    for number in (1, 3):
        cut(pictures / f"{number}.png")
    notes = trained(*DISK, "--on_bad_image", "skip").watch.notes
    assert [note.split(":")[1].rpartition("/")[2] for note in notes if "left out" in note] == ["1.jpg", "3.jpg"]


@pytest.mark.parametrize("word", ["--color_aug", "--random_crop"])
def test_pictures_that_change_with_every_visit_are_not_cached(trained: Trained, word: str) -> None:
    words = (word, "--no_enable_bucket", "--max_train_epochs", "2")
    outcome = trained(*words)
    assert outcome.watch.encoded == (12, 6)
    assert len({image.numpy().tobytes() for image in outcome.watch.images}) > 6
    assert outcome.equals(trained(*words))


def test_cuts_around_faces_are_not_cached(trained: Trained, pictures: Path) -> None:
    for number in range(6):
        (pictures / f"{number}.png").rename(pictures / f"{number}_20_20_20_20.png")
    words = ("--no_enable_bucket", "--face_crop_aug_range", "1.5,3.0", "--resolution", "32")
    watch = trained(*words, "--max_train_epochs", "3").watch
    assert len(watch.images) == 18
    assert len({framing for batch in watch.batches for framing in batch.framings}) > 6


def test_in_buckets_faces_are_not_cut_out_so_that_latents_are_cached(trained: Trained) -> None:
    assert trained("--face_crop_aug_range", "1.5,3.0").watch.encoded == (6, 6)


def test_mirrored_latents_are_cached_too_and_framings_say_so(trained: Trained) -> None:
    words = ("--flip_aug", "--max_train_epochs", "6")
    cached, live = trained(*DISK, *words), trained("--no_cache_latents", *words)
    assert cached.watch.encoded == (12, 6)
    assert cached.equals(live)
    assert trained(*words).equals(live)
    flips = [[one.flipped for batch in run.watch.batches for one in batch.framings] for run in (cached, live)]
    assert flips[0] == flips[1]
    assert set(flips[0]) == {False, True}


@pytest.fixture
def lopsided(pictures: Path) -> Path:
    """Make every picture darker to the left, where it is transparent as well."""
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    for path in pictures.glob("*.png"):
        rgba = np.stack([ramp, ramp.T, ramp, np.where(ramp < 100, 0, ramp)], axis=2)
        Image.fromarray(rgba).save(path)
    return pictures


@pytest.mark.usefixtures("lopsided")
def test_flips_and_masks_are_mirrored_together_and_cached_as_they_are_encoded(trained: Trained) -> None:
    words = ("--flip_aug", "--alpha_mask", "--masked_loss", "--max_train_epochs", "4")
    cached, live = trained(*DISK, *words), trained("--no_cache_latents", *words)
    assert cached.equals(live)
    for batch in cached.watch.batches:
        assert batch.masks is not None
        for framing, mask in zip(batch.framings, batch.masks, strict=True):
            dark = mask[0].mean(dim=0)[0 if not framing.flipped else -1]
            assert dark == 0


@pytest.fixture
def masks(pictures: Path, tmp_path: Path) -> Path:
    """Paint masks of which the left half is black."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for path in pictures.glob("*.png"):
        with Image.open(path) as image:
            mask = Image.new("L", image.size, 0)
        mask.paste(255, (mask.width // 2, 0, *mask.size))
        mask.save(folder / path.name)
    return folder


def with_alpha(folder: Path, alpha: int, names: str = "*.png") -> None:
    for path in folder.glob(names):
        with Image.open(path) as image:
            colours = image.convert("RGB")
        colours.putalpha(alpha)
        colours.save(path)


@pytest.mark.parametrize("words", [(), DISK, ("--no_cache_latents",)])
def test_transparent_pictures_teach_nothing(trained: Trained, pictures: Path, words: tuple[str, ...]) -> None:
    with_alpha(pictures, 0)
    outcome = trained("--alpha_mask", "--masked_loss", "--optimizer_args", "weight_decay=0", *words)
    assert outcome.watch.losses == [0.0] * 6
    assert not outcome.moved


def test_opaque_pictures_are_trained_as_without_masks(trained: Trained, pictures: Path) -> None:
    with_alpha(pictures, 255)
    assert trained("--alpha_mask", "--masked_loss").equals(trained())


def test_masks_of_a_folder_weigh_the_loss(trained: Trained, pictures: Path, masks: Path) -> None:
    for number in (0, 2, 4):
        (pictures / f"{number}.png").unlink()
    words = ("--max_train_steps", "1", "--train_batch_size", "3")
    whole = trained(*words).watch.losses[0]
    right = trained(*words, "--conditioning_data_dir", str(masks), "--masked_loss")
    for path in masks.glob("*.png"):
        with Image.open(path) as image:
            turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turned.save(path)
    left = trained(*words, "--conditioning_data_dir", str(masks), "--masked_loss").watch.losses[0]
    assert 0 < left < whole
    # means over all places: what the two halves count adds up to the whole
    assert left + right.watch.losses[0] == pytest.approx(whole, rel=1e-6)
    mask = right.watch.batches[0].masks
    assert mask is not None
    assert torch.equal(mask[:, 0], torch.tensor([0.0] * 4 + [1.0] * 4).expand(3, 8, 8))


def test_masks_of_a_folder_are_cached_as_they_are_read(trained: Trained, masks: Path) -> None:
    words = ("--conditioning_data_dir", str(masks), "--masked_loss")
    cached = trained(*DISK, *words)
    assert cached.equals(trained(*words, "--no_cache_latents"))
    assert not cached.equals(trained(*DISK))
    assert trained(*DISK, *words).watch.encoded == (0, 0)
    Image.new("L", (64, 64), 77).save(masks / "3.png")
    changed = trained(*DISK, *words)
    assert changed.watch.encoded == (1, 0)
    assert changed.equals(trained(*words, "--no_cache_latents"))


def masks_of(batch: Batch) -> torch.Tensor:
    assert batch.masks is not None
    return batch.masks


def test_a_picture_without_transparency_counts_everywhere_beside_one_that_has(trained: Trained, pictures: Path) -> None:
    with_alpha(pictures, 102, "1.png")
    words = ("--alpha_mask", "--masked_loss", "--max_train_epochs", "1", "--train_batch_size", "6")
    cached, live = (trained(*words, *more) for more in (DISK, ("--no_cache_latents",)))
    assert cached.equals(live)
    batches = [batch for batch in cached.watch.batches if batch.masks is not None]
    found = {
        Path(name).name: mask.unique().tolist()
        for batch in batches
        for name, mask in zip(batch.ids, masks_of(batch), strict=True)
    }
    assert found.pop("1.png") == pytest.approx([0.4])
    assert found == {"3.png": [1.0], "5.png": [1.0]} | {f"{number}.png": [1.0] for number in (0, 2, 4)}


def data_set(folder: Path, **more: Any) -> dict[str, Any]:
    return {"subsets": [{"image_dir": str(folder), **more}]}


def test_a_broken_picture_of_two_data_sets_is_named_once_and_left_out_of_both(
    trained: Trained, pictures: Path, cut: Cut, write_data: WriteData
) -> None:
    broken = cut(pictures / "3.png")
    words = write_data(data_set(pictures), {**data_set(pictures), "resolution": 48})
    with pytest.raises(DataError) as caught:
        trained(*words)
    assert [problem.where for problem in caught.value.problems] == [str(broken)]
    watch = trained(*words, *DISK, "--on_bad_image", "skip").watch
    assert watch.encoded == (10, 5)
    assert len([note for note in watch.notes if "left out" in note]) == 1


@pytest.fixture
def others(pictures: Path, tmp_path: Path) -> Path:
    """Return three more pictures in a folder of their own."""
    folder = tmp_path / "others"
    folder.mkdir()
    for number in (0, 2, 4):
        (pictures / f"{number}.png").rename(folder / f"{number}.png")
        (pictures / f"{number}.txt").rename(folder / f"{number}.txt")
    return folder


def test_regularisation_counts_as_prior_loss_weight_says(
    trained: Trained, pictures: Path, others: Path, write_data: WriteData
) -> None:
    one = {"subsets": [*data_set(pictures)["subsets"], *data_set(others, is_reg=True)["subsets"]]}
    watch = trained(*write_data(one), "--prior_loss_weight", "0.25").watch
    weights = {
        (Path(name).parent, weight)
        for batch in watch.batches
        for name, weight in zip(batch.ids, batch.loss_weights.tolist(), strict=True)
    }
    assert weights == {(pictures, 1.0), (others, 0.25)}


def test_regularisation_without_weight_moves_nothing(
    trained: Trained, pictures: Path, others: Path, write_data: WriteData
) -> None:
    one = {"subsets": [*data_set(pictures)["subsets"], *data_set(others, is_reg=True)["subsets"]]}
    words = ("--prior_loss_weight", "0", "--train_batch_size", "1")
    watch = trained(*write_data(one), *words, "--max_train_epochs", "1").watch
    found = zip(watch.ids, watch.losses, watch.norms, strict=True)
    nothing = {Path(ids[0]).parent: loss == norm == 0 for ids, loss, norm in found}
    assert nothing == {others: True, pictures: False}


def test_a_network_multiplier_of_zero_keeps_a_data_set_from_the_network(
    trained: Trained, pictures: Path, write_data: WriteData
) -> None:
    words = write_data(data_set(pictures), network_multiplier=0.0)
    assert not trained(*words, "--optimizer_args", "weight_decay=0").moved


def test_a_network_multiplier_of_one_changes_nothing(trained: Trained, pictures: Path, write_data: WriteData) -> None:
    plain = trained(*write_data(data_set(pictures)))
    assert plain.equals(trained(*write_data(data_set(pictures), network_multiplier=1.0)))
    assert not plain.equals(trained(*write_data(data_set(pictures), network_multiplier=0.5)))


def test_network_multipliers_belong_to_their_data_sets(
    trained: Trained, pictures: Path, others: Path, write_data: WriteData
) -> None:
    words = write_data({**data_set(others), "network_multiplier": 0.0}, data_set(pictures))
    watch = trained(*words, "--max_train_epochs", "1").watch
    nothing = {Path(ids[0]).parent: norm == 0 for ids, norm in zip(watch.ids, watch.norms, strict=True)}
    assert nothing == {others: True, pictures: False}


def test_custom_attributes_arrive_with_each_sample(
    trained: Trained, pictures: Path, others: Path, write_data: WriteData
) -> None:
    kinds = (data_set(pictures, custom_attributes={"kind": "cat"}), data_set(others, custom_attributes={"kind": "dog"}))
    watch = trained(*write_data({"subsets": [one["subsets"][0] for one in kinds]})).watch
    found = {
        (Path(name).parent, one["kind"]) for b in watch.batches for name, one in zip(b.ids, b.attributes, strict=True)
    }
    assert found == {(pictures, "cat"), (others, "dog")}


@pytest.mark.parametrize("words", [(), DISK])
def test_held_out_pictures_are_never_trained_on(trained: Trained, pictures: Path, words: tuple[str, ...]) -> None:
    watch = trained("--validation_split", "0.34", "--max_train_epochs", "4", *words).watch
    seen = Counter(name for ids in watch.ids for name in ids)
    assert len(seen) == 4
    assert set(seen.values()) == {4}
    assert watch.encoded == (6, 6)


@pytest.mark.parametrize("accumulation", ["1", "3"])
def test_every_picture_is_seen_as_often_as_it_repeats_in_every_epoch(
    trained: Trained, pictures: Path, others: Path, write_data: WriteData, accumulation: str
) -> None:
    words = write_data(data_set(pictures, num_repeats=3), {**data_set(others, num_repeats=2), "batch_size": 4})
    watch = trained(*words, "--max_train_epochs", "3", "--gradient_accumulation_steps", accumulation).watch
    steps = len(watch.ids) // 3
    for epoch in range(3):
        seen = Counter(name for ids in watch.ids[epoch * steps : (epoch + 1) * steps] for name in ids)
        assert {(Path(name).parent, count) for name, count in seen.items()} == {(pictures, 3), (others, 2)}
        assert len(seen) == 6


def test_any_number_of_threads_trains_the_same(trained: Trained) -> None:
    words = ("--no_cache_latents", "--flip_aug", "--color_aug", "--shuffle_caption", "--max_train_epochs", "2")
    runs = [trained(*words, "--max_data_loader_n_workers", count) for count in ("0", "1", "4")]
    assert all(one.equals(other) for one, other in pairwise(runs))
    assert runs[0].watch.ids == runs[2].watch.ids
    assert runs[0].watch.read == runs[2].watch.read


def test_what_is_known_of_files_is_kept_for_the_next_run(trained: Trained, pictures: Path, tmp_path: Path) -> None:
    for path in pictures.iterdir():
        aged(path)
    trained(*DISK)
    table = scan_folder(pictures, ".txt", readable_suffixes(), tmp_path / "cache" / "tables")
    assert table.has_digest.all()
    assert (table.decoded == 1).all()


def test_texts_beside_the_captions_are_found_in_their_cache(toy_config: Path) -> None:
    beside = Beside.of(toy_config)
    wanted = ("a prompt", "", "a prompt")
    processes = Processes(torch.device("cpu"), 0, 1)
    index = beside.index
    ready = prepare(Preparing(beside.loading, processes, 1, index, ("text",), index.take(np.arange(0)), wanted))
    assert ready.loader.text is not None
    assert len(ready.loader.text.batch(["a prompt", index.caption(0), ""])) == 3
    assert ready.held_out is None
