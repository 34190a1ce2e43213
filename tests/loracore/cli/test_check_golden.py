"""What the field's data code answers, asked of `loracore check --json`; where we differ, the test says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.loracore.cli.conftest import Call

Case = dict[str, Any]

#: Captions in which a fault of the field is mended; legacy_captions has the field's own.
MENDED = {
    "prefix/suffix on a multi-line caption without wildcards: suffix is lost with the later lines": "P a, b S",
    "keep_tokens_separator stays in the text when neither shuffle, tag dropout nor warmup is on": "a, b, c, d, e",
    "keep_tokens_separator three times: third stays in the suffix tags": "a, b, c, d",
}

#: Caption files that are read in another way: marks are stripped, empty files are empty captions, extensions of
#: pictures may have any case, and every format is trained that can be decoded.
READ_OTHERWISE = {
    "byte-order mark is kept": "x",
    "zero-byte file": "",
    "mixed-case extension is not found": "x",
    "gif is not an image here": "x",
}

#: Entries of lists whose caption is another one: tags without a caption are said with wildcards too, and of several
#: lines only the first is said, which the field does when the text is encoded.
LISTED_OTHERWISE = {
    "tags only, wildcards on: tags are lost": "t1,t2",
    "two-line caption, wildcards off": "c",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "data" / "dataset.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(loracore: Call, datasets: list[Case], *words: str) -> Any:
    """Return what the command says of data sets; a key that is None is not written, as in TOML."""
    Path("data.json").write_text(json.dumps({"datasets": datasets}), encoding="utf-8")
    answer = loracore("check", "--dataset_config", "data.json", "--json", *words)
    assert answer.code in {0, 1}, answer.err
    return json.loads(answer.out)


def paint(path: Path, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("1", size).save(path, None if path.suffix.lower() != ".png" else "PNG")


def paint_sizes(cases: list[Case]) -> None:
    for width, height in {tuple(case["image"]) for case in cases}:
        paint(Path(f"sizes/{width}x{height}.png"), (width, height))


def framed(dataset: Case) -> dict[tuple[int, ...], tuple[list[int], list[int]]]:
    return {tuple(image["size"]): (image["bucket"], image["resized"]) for image in dataset["images"]}


def recorded(cases: list[Case]) -> dict[tuple[int, ...], tuple[list[int], list[int]]]:
    """Return the framings of the cases that have one; the others are pictures thinner than a bucket step."""
    whole = [case for case in cases if "error" not in case and 0 not in case["bucket"]]
    return {tuple(case["image"]): (case["bucket"], case["resized"]) for case in whole}


def test_buckets_are_the_golden_ones(loracore: Call, golden: dict[str, Any]) -> None:
    sections = golden["buckets"]
    paint_sizes([case for section in sections for case in section["cases"]])
    datasets = [
        {**section["settings"], "enable_bucket": True, "subsets": [{"image_dir": "sizes"}]} for section in sections
    ]
    found = checked(loracore, datasets)["datasets"]
    for section, dataset in zip(sections, found, strict=True):
        expected = recorded(section["cases"])
        assert {size: framing for size, framing in framed(dataset).items() if size in expected} == expected


def test_pictures_that_had_no_bucket_are_problems(loracore: Call, golden: dict[str, Any]) -> None:
    # The field divides by zero here, or makes a bucket with a side of 0.
    section = next(section for section in golden["buckets"] if section["settings"]["bucket_no_upscale"])
    paint_sizes(section["cases"])
    dataset = {**section["settings"], "enable_bucket": True, "subsets": [{"image_dir": "sizes"}]}
    thin = {tuple(case["image"]) for case in section["cases"]} - set(recorded(section["cases"]))
    found = checked(loracore, [dataset])["problems"]
    assert {Path(problem["where"]).stem for problem in found} == {f"{width}x{height}" for width, height in thin}


def test_without_buckets_pictures_are_framed_as_recorded(loracore: Call, golden: dict[str, Any]) -> None:
    cases = golden["no_bucket"]["cases"]
    paint_sizes(cases)
    (dataset,) = checked(loracore, [{"resolution": 1024, "subsets": [{"image_dir": "sizes"}]}])["datasets"]
    assert framed(dataset) == recorded(cases)


@pytest.mark.parametrize("number", range(8))
def test_batches_are_the_golden_ones(loracore: Call, golden: dict[str, Any], number: int) -> None:
    case = golden["batches"]["cases"][number]
    for place, size in enumerate(case["image_sizes"]):
        paint(Path(f"many/{place}.png"), tuple(size))
    subset = {"image_dir": "many", "num_repeats": case["num_repeats"]}
    buckets = {"resolution": 1024, "enable_bucket": True, "max_bucket_reso": 2048}
    found = checked(loracore, [{**buckets, "batch_size": case["batch_size"], "subsets": [subset]}])
    counted = [{"bucket": row["size"], "count": row["images"]} for row in found["datasets"][0]["buckets"]]
    assert (counted, found["batches_per_epoch"]) == (case["bucket_counts"], case["batches_per_epoch"])


@pytest.mark.parametrize("number", range(8))
def test_regularisation_is_balanced_as_recorded(loracore: Call, golden: dict[str, Any], number: int) -> None:
    case = golden["regularisation"]["cases"][number]
    subsets = []
    for name in ("train", "reg"):
        for place in range(case[f"{name}_images"]):
            paint(Path(f"{name}/{place:02}.png"))
        subset = {"image_dir": name, "num_repeats": case[f"{name}_repeats"], "is_reg": name == "reg"}
        subsets += [subset] if case[f"{name}_images"] else []
    (dataset,) = [{"resolution": 64, "batch_size": case["batch_size"], "subsets": subsets}]
    assert checked(loracore, [dataset])["batches_per_epoch"] == case["batches_per_epoch"]


def caption_file(place: int, case: Case) -> Case:
    """Write the files of a case, and return the data set of its folder."""
    folder = Path(f"case-{place}")
    paint(folder / case["image"])
    for name, text in case["files"].items():
        (folder / name).write_bytes(b"\xe9" if text == "\\xe9" else text.encode("utf-8"))
    subset = {"image_dir": str(folder), "caption_extension": ".txt", **case["settings"]}
    return {"resolution": 64, "subsets": [subset]}


def spoken(found: Mapping[str, Any]) -> list[str]:
    return [image["caption"] for dataset in found["datasets"] for image in dataset["images"]]


def test_caption_files_are_read_as_recorded(loracore: Call, golden: dict[str, Any]) -> None:
    cases = golden["caption_files"]["cases"]
    found = checked(loracore, [caption_file(place, case) for place, case in enumerate(cases)])
    for case, caption in zip(cases, spoken(found), strict=True):
        if "UnicodeDecodeError" in case.get("error", ""):
            continue
        if case["settings"].get("enable_wildcard"):  # the field's list of lines, of which one is said
            assert caption in case["caption"].split("\n")
        else:
            assert caption == READ_OTHERWISE.get(case["how"], case.get("caption")), case


def test_a_caption_in_another_encoding_is_named(loracore: Call, golden: dict[str, Any]) -> None:
    # The field ends with a traceback.
    (case,) = (case for case in golden["caption_files"]["cases"] if case["how"] == "not UTF-8")
    (problem,) = checked(loracore, [caption_file(0, case)])["problems"]
    assert (Path(problem["where"]).name, problem["fix"]) == ("a.txt", "save the file as UTF-8")


def listed(place: int, entry: Case, settings: Case) -> Case:
    """Write a list of one picture, and return its data set."""
    paint(Path("pictures/a.png"))
    path = Path(f"list-{place}.json")
    path.write_text(json.dumps({"a": entry}), encoding="utf-8")
    return {"resolution": 64, "subsets": [{"image_dir": "pictures", "metadata_file": str(path), **settings}]}


def test_captions_of_lists_are_those_recorded(loracore: Call, golden: dict[str, Any]) -> None:
    cases = golden["metadata_captions"]["cases"]
    found = checked(loracore, [listed(place, case["entry"], case["settings"]) for place, case in enumerate(cases)])
    for case, caption in zip(cases, spoken(found), strict=True):
        lines = LISTED_OTHERWISE.get(case["how"], case["caption"]).split("\n")
        assert caption in lines, case


def first_visits(golden: dict[str, Any]) -> list[Case]:
    """Return the captions recorded for the first step, without those of textual inversion."""
    cases = golden["captions"]["cases"]
    return [case for case in cases if (case["epoch"], case["step"]) == (1, 0) and "replacements" not in case]


def captions_of(loracore: Call, cases: list[Case], *words: str) -> dict[str, str]:
    # in lists, since a caption file loses the blanks around its line; the recorded runs have 100 steps where it matters
    datasets = [listed(place, {"caption": case["caption_in"]}, case["settings"]) for place, case in enumerate(cases)]
    found = checked(loracore, datasets, "--max_train_steps", "100", *words)
    return dict(zip([case["how"] for case in cases], spoken(found), strict=True))


def test_captions_are_the_golden_ones_but_for_mended_faults(loracore: Call, golden: dict[str, Any]) -> None:
    cases = first_visits(golden)
    assert len(cases) == 29
    assert captions_of(loracore, cases) == {case["how"]: MENDED.get(case["how"], case["caption_out"]) for case in cases}


def test_legacy_captions_are_the_golden_ones(loracore: Call, golden: dict[str, Any]) -> None:
    cases = first_visits(golden)
    found = captions_of(loracore, cases, "--legacy_captions")
    assert found == {case["how"]: case["caption_out"] for case in cases}
