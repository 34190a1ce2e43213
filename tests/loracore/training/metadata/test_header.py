from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from loracore.training.metadata.header import ESSENTIAL
from tests.loracore.training.conftest import Watch
from tests.toy_runs import TrainToy

#: What two runs over the same pictures may say differently when one of them validates.
OF_THE_RUN = {
    *("ss_session_id", "ss_training_started_at", "ss_training_finished_at", "modelspec.date"),
    *("ss_num_validation_images", "ss_validation_split", "ss_validate_every_n_steps"),
    *("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"),  # of the weights: trained in another order
}


def said(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        found: dict[str, str] = file.metadata()
    return found


def test_no_metadata_leaves_the_specification_hashes_and_what_loaders_need(train_toy: TrainToy) -> None:
    found = said(train_toy("--no_metadata", "--metadata_trigger_phrase", "sks"))
    assert found["modelspec.trigger_phrase"] == "sks"
    assert {name for name in found if not name.startswith(("modelspec.", "sshs_"))} <= set(ESSENTIAL)


def test_steps_and_epochs_are_those_that_are_over(train_toy: TrainToy) -> None:
    path = train_toy("--save_every_n_steps", "2", "--save_every_n_epochs", "1", "--max_train_epochs", "2")
    found = {one.stem: (said(one)["ss_steps"], said(one)["ss_epoch"]) for one in path.parent.glob("*.safetensors")}
    steps = int(said(path)["ss_max_train_steps"])
    assert found["toy"] == (str(steps), "2")
    assert found["toy-000001"] == (str(steps // 2), "1")
    assert found["toy-step00000002"] == ("2", str((2 - 1) // (steps // 2)))


def test_no_secret_and_no_folder_of_this_machine_is_in_a_header(train_toy: TrainToy, tmp_path: Path) -> None:
    path = train_toy("--huggingface_token", "hf_secret", "--wandb_api_key", "wandb_secret")
    text = " ".join(said(path).values())
    assert "secret" not in text
    assert str(tmp_path) not in text


def test_a_run_that_validates_says_what_one_over_the_trained_pictures_alone_says(
    train_toy: TrainToy, pictures: Path
) -> None:
    watch = Watch()
    split = said(train_toy("--validation_split", "0.5", "--validate_every_n_steps", "3", plugin=watch))
    trained = {name for ids in watch.ids for name in ids}
    for path in pictures.glob("*.png"):
        if str(path) not in trained:
            path.unlink()
    alone = said(train_toy("--overwrite"))
    assert {name for name in alone if split[name] != alone[name]} <= OF_THE_RUN
    assert (split["ss_num_validation_images"], alone["ss_num_validation_images"]) == ("3", "0")
    assert alone["ss_num_train_images"] == "3"


def test_tags_are_counted_in_the_background_and_written(train_toy: TrainToy) -> None:
    assert "ss_tag_frequency" in said(train_toy())
