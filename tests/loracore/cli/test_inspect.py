"""``loracore inspect``: lines for people, JSON alone for programs, a picture on request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.loracore.cli.conftest import Call
from tests.loracore.weights.network_files import CONV, LINEAR, TEXT, lora, pair, write

METADATA = {
    "ss_network_dim": "6",
    "ss_sd_model_name": "base.safetensors",
    "ss_tag_frequency": json.dumps({"5_cat": {"cat": 12, "sofa": 3}}),
    "ss_dataset_dirs": json.dumps({"5_cat": {"n_repeats": 5, "img_count": 12}}),
    "ss_training_comment": "\x1b[31mred",
    "sshs_model_hash": "00",
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write(tmp_path / "file.safetensors", lora(), METADATA))


def test_people_get_what_counts_without_any_architecture(loracore: Call, file: str) -> None:
    answer = loracore("inspect", file)
    assert (answer.code, answer.err) == (0, "")
    for said in (
        "modules        te1 1, unet 2",
        "kinds          LoRA 3",
        "ranks unet     mixed: 6 alpha 3 × 1, 5 alpha 5 × 1",
        "ss_sd_model_name  base.safetensors",
        "5_cat: 12 pictures × 5",
        "most frequent tags: cat 12, sofa 3",
        "DOES NOT MATCH",
        "  input_blocks_4 ",
    ):
        assert said in answer.out
    assert not {"DEAD", "BROKEN", "ODD"} & set(answer.out.replace(":", " ").split())


def test_headers_command_no_terminal(loracore: Call, file: str) -> None:
    assert "\x1b" not in loracore("inspect", file).out


def test_json_stands_alone(loracore: Call, file: str) -> None:
    found = json.loads(loracore("inspect", file, "--json").out)
    assert {one["name"]: (one["rank"], one["alpha"]) for one in found["modules"]} == {
        LINEAR: (6, 3.0),
        CONV: (5, 5.0),
        TEXT: (4, 1.0),
    }
    assert found["metadata"]["network"] == {"ss_network_dim": "6"}
    assert (found["hash_matches"], found["tags"]) == (False, {"cat": 12, "sofa": 3})
    assert len(found["tensors"]) == 9


def test_dead_odd_and_broken_ones_are_marked_and_named(loracore: Call, tmp_path: Path) -> None:
    tensors = lora()
    tensors[f"{LINEAR}.lora_up.weight"].zero_()
    tensors[f"{TEXT}.lora_down.weight"] *= 1e-9
    tensors[f"{CONV}.alpha"] = torch.tensor(float("nan"))
    path = str(write(tmp_path / "file.safetensors", tensors))
    answer = loracore("inspect", path)
    assert answer.code == 1
    for mark, name in {"DEAD: 1": LINEAR, "ODD: 1": f"{TEXT}.lora_down.weight", "BROKEN: 1": f"{CONV}.alpha"}.items():
        assert name in answer.out.partition(mark)[2].splitlines()[1]
    found = json.loads(loracore("inspect", path, "--json").out)
    assert (found["dead"], found["not_finite"]) == ([LINEAR], [f"{CONV}.alpha"])
    assert "NaN" not in loracore("inspect", path, "--json").out


def test_a_long_list_of_dead_modules_is_cut(loracore: Call, tmp_path: Path) -> None:
    tensors = {name: one for number in range(12) for name, one in pair(f"lora_unet_a_{number}", 4, 4, 2).items()}
    zeros = {name: torch.zeros_like(one) for name, one in tensors.items()}
    assert "and 4 more" in loracore("inspect", str(write(tmp_path / "file.safetensors", zeros))).out


def test_a_picture_is_written_and_replaced_only_on_request(loracore: Call, file: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "norms.png"
    assert f"picture        {path}" in loracore("inspect", file, "--picture", str(path)).out
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    assert "exists already" in loracore("inspect", file, "--picture", str(path)).errors[0]
    assert loracore("inspect", file, "--picture", str(path), "--overwrite").code == 0


def test_json_and_a_picture_go_together(loracore: Call, file: str, tmp_path: Path) -> None:
    answer = loracore("inspect", file, "--json", "--picture", str(tmp_path / "norms.png"))
    assert json.loads(answer.out)["file"] == file
    assert (tmp_path / "norms.png").is_file()


def test_other_networks_without_norms_say_so(loracore: Call, tmp_path: Path) -> None:
    path = write(tmp_path / "file.safetensors", {"oft_unet_blocks_0_q.oft_blocks": torch.rand(2, 3, 3)})
    answer = loracore("inspect", str(path), "--picture", str(tmp_path / "norms.png"))
    assert "OFT 1" in answer.out
    assert "without norm   1 modules" in answer.out


@pytest.mark.parametrize("name", ["nowhere.safetensors", "norms.jpg"])
def test_what_is_wrong_costs_no_traceback(loracore: Call, file: str, name: str, tmp_path: Path) -> None:
    words = [file, "--picture", name] if name.endswith("jpg") else [str(tmp_path / name)]
    answer = loracore("inspect", *words)
    assert answer.code == 2
    assert name in answer.errors[0]


def test_a_file_is_needed(loracore: Call) -> None:
    answer = loracore("inspect")
    assert (answer.code, answer.errors) == (2, ["Missing argument 'FILE'."])


def test_help_costs_no_torch(imports: Call) -> None:
    answer = imports("inspect", "--help")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "")
