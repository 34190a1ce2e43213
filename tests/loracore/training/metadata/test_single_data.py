from __future__ import annotations

from safetensors import safe_open

from tests.toy_runs import TrainToy


def test_one_data_set_has_its_own_keys(train_toy: TrainToy) -> None:
    words = ("--flip_aug", "--shuffle_caption", "--keep_tokens", "1", "--gradient_accumulation_steps", "3")
    with safe_open(train_toy(*words), "pt") as file:
        said = file.metadata()
    names = ("total_batch_size", "flip_aug", "color_aug", "random_crop", "shuffle_caption", "keep_tokens")
    assert [said[f"ss_{name}"] for name in names] == ["6", "True", "False", "False", "True", "1"]
