from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from loracore import DataError
from tests.loracore.training.conftest import DISK, WriteData
from tests.loracore.training.test_processes import launch
from tests.loracore.training.validation.conftest import Validated, Validations

STEPS = ("--validate_every_n_steps", "1")
#: Too small for float32 to notice: every validation of such a run sees the same network.
STANDING = ("--learning_rate", "1e-30")


def files(watch: Validations, pattern: str) -> set[int]:
    """Return the steps of files whose name has this before the step."""
    assert watch.outcome is not None
    path = watch.outcome.path
    return {int(found.stem[-8:]) for found in path.parent.glob(f"{path.stem}{pattern}-step*.safetensors")}


def test_what_is_told_is_the_mean_over_pictures_and_timesteps(validated: Validated) -> None:
    watch = validated("--validate_every_n_steps", "4")
    (values,) = watch.values
    assert (watch.told[0].step, values["epoch"], values["scope"], values["images"]) == (4, 2, "step", 2)
    by_timestep = {
        str(timestep): [loss for seen in watch.seen if seen.timestep == timestep for loss in seen.losses.tolist()]
        for timestep in (200, 400, 600, 800)
    }
    assert {name: len(losses) for name, losses in by_timestep.items()} == dict.fromkeys(values["bands"], 2)
    for name, losses in by_timestep.items():
        assert values["bands"][name] == pytest.approx(sum(losses) / 2)
    assert values["loss"] == pytest.approx(sum(values["bands"].values()) / 4)


def test_a_batch_is_encoded_once_for_all_timesteps(validated: Validated) -> None:
    watch = validated("--validate_every_n_steps", "3", "--no_cache_latents")
    trained = sum(len(ids) for ids in watch.ids)
    assert len(watch.seen) >= 2 * 4
    assert len(watch.images) == trained + 2 * watch.values[0]["images"]


def test_every_epoch_is_validated_unless_steps_are(validated: Validated) -> None:
    by_epoch = validated("--max_train_steps", "5")
    length = len(by_epoch.ids)
    assert [(event.values["scope"], event.values["epoch"]) for event in by_epoch.told][:1] == [("epoch", 1)]
    assert by_epoch.told[-1].step == length == 5  # the last epoch is shorter
    assert {event.values["scope"] for event in validated(*STEPS).told} == {"step"}
    assert not validated("--validate_every_n_epochs", "0").told


def test_what_is_due_twice_is_measured_once_and_told_for_both(validated: Validated) -> None:
    watch = validated("--validate_every_n_steps", "6", "--validate_every_n_epochs", "1", "--max_train_epochs", "3")
    ends = [event.step for event in watch.told if event.values["scope"] == "epoch"]
    both = [event for event in watch.told if event.step == 6]
    assert [event.values["scope"] for event in both] == ["step", "epoch"]
    assert both[0].values["loss"] == both[1].values["loss"]
    assert sum(len(seen.batch.ids) for seen in watch.seen) == 2 * 4 * len({6, *ends})


def test_divergence_is_what_training_does_better(validated: Validated) -> None:
    watch = validated(*STEPS, "--max_train_steps", "2")
    first = watch.values[0]
    assert first["divergence"] == pytest.approx(first["loss"] - watch.losses[0])


@pytest.mark.parametrize(
    "words",
    [
        ("--network_dropout", "0.5", "--network_args", "rank_dropout=0.5", "module_dropout=0.3"),
        ("--shuffle_caption", "--caption_dropout_rate", "0.5", "--caption_tag_dropout_rate", "0.5", "--flip_aug"),
        ("--shuffle_caption", "--enable_wildcard", "--no_network_train_unet_only"),
        ("--no_cache_latents", "--flip_aug", "--color_aug", "--random_crop", "--no_enable_bucket"),
    ],
)
def test_every_validation_reads_and_draws_the_same(
    validated: Validated, pictures: Path, words: tuple[str, ...]
) -> None:
    for path in pictures.glob("*.txt"):
        path.write_text(f"{path.stem}, one, two, three, four, five, {{six|seven|eight}}", "utf-8")
    watch = validated(*STEPS, *STANDING, *words)
    assert len(set(watch.found)) == 1
    assert len({tuple(values["bands"].values()) for values in watch.values}) == 1
    assert all("five" in caption for seen in watch.seen for caption in seen.batch.captions)


def test_a_subset_for_validation_alone_has_noise_of_its_seed(
    validated: Validated, pictures: Path, tmp_path: Path, write_data: WriteData
) -> None:
    shutil.copytree(pictures, tmp_path / "others")
    apart = {"image_dir": str(tmp_path / "others"), "validation_split": 1.0}
    data = write_data({"subsets": [{"image_dir": str(pictures)}, apart]})
    first, again, other = (
        validated(*data, *STANDING, "--max_train_epochs", "1", "--validation_seed", seed, held=())
        for seed in ("1", "1", "2")
    )
    assert first.found == again.found != other.found
    assert {Path(name).parent for seen in first.seen for name in seen.batch.ids} == {tmp_path / "others"}
    assert {Path(name).parent for batch in first.batches for name in batch.ids} == {pictures}


@pytest.mark.parametrize(
    "words",
    [
        (),
        DISK,
        ("--network_dropout", "0.5", "--network_args", "rank_dropout=0.5"),
        ("--no_network_train_unet_only", "--shuffle_caption", "--caption_dropout_rate", "0.3"),
        ("--no_cache_latents", "--flip_aug", "--color_aug"),
        ("--gradient_checkpointing", "--gradient_accumulation_steps", "2"),
        ("--use_ema",),
        ("--fp8_base_unet",),
    ],
)
def test_training_never_notices(validated: Validated, words: tuple[str, ...]) -> None:
    without = validated(*words, "--validate_every_n_epochs", "0")
    watch = validated(*words, *STEPS)
    assert watch.seen
    assert not watch.disturbed
    assert watch.losses == without.losses
    assert watch.outcome is not None
    assert without.outcome is not None
    assert watch.outcome.equals(without.outcome)


def test_held_out_pictures_are_validated_and_never_trained_on(validated: Validated) -> None:
    watch = validated(*STEPS, "--max_train_epochs", "2")
    trained_on = {name for batch in watch.batches for name in batch.ids}
    held = {name for seen in watch.seen for name in seen.batch.ids}
    assert (len(trained_on), len(held)) == (4, 2)
    assert not trained_on & held
    assert watch.encoded == (6, 6)


def test_what_is_never_validated_is_not_even_encoded(validated: Validated) -> None:
    watch = validated("--validate_every_n_epochs", "0")
    assert watch.encoded == (4, 4)
    assert any("held out by validation_split, and never looked at" in note for note in watch.notes)


def test_a_second_run_finds_everything_in_the_cache(validated: Validated) -> None:
    first, second = (validated(*STEPS, *DISK) for _ in range(2))
    assert (first.encoded, second.encoded) == ((6, 6), (0, 0))
    assert first.found == second.found


def test_no_more_batches_are_looked_at_than_asked_for(validated: Validated) -> None:
    watch = validated("--train_batch_size", "1", "--max_validation_steps", "1", "--max_train_epochs", "1")
    assert len(watch.seen) == 4
    assert watch.values[0]["images"] == 1


def test_the_best_files_are_kept_and_hold_what_was_validated(validated: Validated) -> None:
    words = ("--max_train_steps", "8", "--save_every_n_steps", "1", "--keep_best", "3", "--learning_rate", "0.05")
    watch = validated(*STEPS, *words)
    ranked = sorted((loss, event.step) for loss, event in zip(watch.found, watch.told, strict=True))
    assert files(watch, "-best") == {step for _, step in ranked[:3]}
    assert files(watch, "") == set(range(1, 9))
    smallest = [min(watch.found[:number]) for number in range(1, 9)]
    assert [values["best"] for values in watch.values] == [
        loss == least and (not place or loss < smallest[place - 1])
        for place, (loss, least) in enumerate(zip(watch.found, smallest, strict=True))
    ]


@pytest.mark.parametrize("words", [(), ("--use_ema", "--ema_decay", "0.5")])
def test_what_is_validated_is_what_is_saved(validated: Validated, words: tuple[str, ...]) -> None:
    watch = validated("--validate_every_n_steps", "5", "--max_train_steps", "5", "--keep_best", "1", *words)
    assert watch.outcome is not None
    path = watch.outcome.path
    saved = load_file(path.with_name(f"{path.stem}-best-step00000005.safetensors"))
    for seen in watch.seen:
        assert all(bool((seen.weights[name] == tensor).all()) for name, tensor in saved.items())


def test_a_run_that_gets_no_better_ends_with_its_final_file(validated: Validated) -> None:
    words = ("--early_stopping_patience", "2", "--early_stopping_threshold", "1000", "--save_every_n_steps", "1")
    watch = validated(*STEPS, *words)
    assert len(watch.ids) == 3
    assert watch.outcome is not None
    path = watch.outcome.path
    last = load_file(path.with_name(f"{path.stem}-step00000003.safetensors"))
    assert all(bool((tensor == last[name]).all()) for name, tensor in watch.outcome.tensors.items())


def test_a_resumed_run_knows_what_was_best_before(validated: Validated) -> None:
    words = (*STEPS, "--keep_best", "3", "--save_every_n_steps", "4", "--save_state", "--max_train_steps", "8")
    whole = validated(*words)
    assert whole.outcome is not None
    path = whole.outcome.path
    resumed = validated(*words, "--resume", str(path.with_name(f"{path.stem}-step00000004-state")))
    assert [event.step for event in resumed.told] == [5, 6, 7, 8]
    assert resumed.found == whole.found[4:]
    assert resumed.record == whole.record
    assert len(whole.record["kept"]) == 3


def broken(pictures: Path, validated: Validated) -> list[Path]:
    """Break the pictures that validations read, and return them."""
    held = {Path(name) for seen in validated(*STEPS, "--max_train_steps", "1").seen for name in seen.batch.ids}
    for path in held:
        path.write_bytes(path.read_bytes()[:-60])
    return sorted(held)


def test_broken_pictures_of_a_validation_are_named_like_others(validated: Validated, pictures: Path) -> None:
    names = broken(pictures, validated)
    with pytest.raises(DataError) as caught:
        validated()
    assert [problem.where for problem in caught.value.problems] == [str(path) for path in names]


def test_broken_pictures_of_a_validation_are_left_out_when_asked(validated: Validated, pictures: Path) -> None:
    first, *_ = broken(pictures, validated)
    watch = validated(*STEPS, "--on_bad_image", "skip")
    assert any(f"left out: {first}" in note for note in watch.notes)
    assert not watch.told  # both of them are broken


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_find_what_one_finds(toy_config: Path, tmp_path: Path) -> None:
    words = ("--validation_split", "0.5", "--max_train_steps", "2", *STEPS, *STANDING)
    launch(toy_config, 1, "--output_name", "one", "--train_batch_size", "4", *words)
    launch(toy_config, 2, "--output_name", "two", "--train_batch_size", "1", *words)
    one, two = (told(tmp_path / "out" / f"{name}-log" / "events.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 2
    # The same pictures with the same noise; sums are taken in another order.
    assert all(math.isclose(first, second, rel_tol=1e-5) for first, second in zip(one, two, strict=True))


def told(path: Path) -> list[float]:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return [line["loss"] for line in lines if line["kind"] == "validation"]
