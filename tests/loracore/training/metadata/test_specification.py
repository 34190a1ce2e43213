from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from loracore import Config, SavingOptions, TrainingOptions
from loracore.config.options import MetadataOptions
from loracore.training.metadata.specification import specification, thumbnail_url


@dataclass(frozen=True)
class Skipping:
    clip_skip: int | None = None


#: What only the architecture knows, and what holds our own name.
NOT_HERE = {f"modelspec.{name}" for name in ("architecture", "implementation", "prediction_type")}
OURS = {"modelspec.implementation_version", "modelspec.date"}


def found(
    name: str | None = "my", resolution: tuple[int, int] = (1024, 1024), clip_skip: int | None = None, **options: Any
) -> dict[str, str]:
    own = {key: value for key, value in options.items() if key.startswith("metadata_")}
    rest = {key: value for key, value in options.items() if key not in own}
    tables = [SavingOptions(output_name=name), MetadataOptions(**own), TrainingOptions(**rest), Skipping(clip_skip)]
    return specification(Config(tables, dict.fromkeys(options, "")), 5.5, resolution)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("sdxl", {}),
        ("sd3_medium", {}),
        (
            "sdxl_opts",
            {
                "metadata_title": "T",
                "metadata_author": "A",
                "metadata_tags": "a,b",
                "metadata_trigger_phrase": "tp",
                "metadata_usage_hint": "use x",
                "min_timestep": 100,
                "clip_skip": 2,
                "resolution": (768, 1024),
            },
        ),
    ],
)
def test_keys_and_values_are_the_fields(data: Path, case: str, options: dict[str, Any]) -> None:
    golden = json.loads((data / "training.json").read_text(encoding="utf-8"))["modelspec"][case]
    said = found(**options)
    assert set(said) == set(golden) - NOT_HERE
    assert {key: said[key] for key in said if key not in OURS} == {
        key: golden[key] for key in golden if key not in OURS | NOT_HERE
    }


@pytest.mark.parametrize(
    "option",
    [
        *("metadata_title", "metadata_author", "metadata_description", "metadata_license", "metadata_tags"),
        *("metadata_usage_hint", "metadata_merged_from", "metadata_trigger_phrase", "metadata_preprocessor"),
        "metadata_is_negative_embedding",
    ],
)
def test_every_option_is_a_key_of_its_name(option: str) -> None:
    key = f"modelspec.{option.removeprefix('metadata_')}"
    given: dict[str, Any] = {option: "as given"}
    assert found(**given)[key] == "as given"


def test_a_run_without_a_name_is_called_by_its_time() -> None:
    assert found(name=None)["modelspec.title"] == "LoRA@5.5"


def test_the_date_is_local_and_has_seconds() -> None:
    date = datetime.fromisoformat(found()["modelspec.date"])
    assert (date.tzinfo, date.microsecond) == (None, 0)


def test_a_thumbnail_becomes_a_data_url(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"jpeg")
    url = found(metadata_thumbnail=str(path))["modelspec.thumbnail"]
    assert url == "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
    assert thumbnail_url(url) == url
