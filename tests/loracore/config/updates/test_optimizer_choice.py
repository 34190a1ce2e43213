from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore import ConfigError, LoracoreError, TrainingOptions
from loracore.config.updates.optimizer_arguments import optimizer_arguments
from loracore.config.updates.optimizer_choice import choose_optimizer, missing_package, optimizer_origin
from loracore.config.updates.optimizer_names import NAMED, REFUSED, TORCH_OPTIMIZERS, is_schedule_free
from loracore.training.updates.optimizers import describe
from tests.loracore.training.updates.every_optimizer import built, parameters

RESULTS = json.loads((Path(__file__).parents[3] / "data" / "training.json").read_text(encoding="utf-8"))["optimizers"][
    "results"
]
CLASSES = {
    name: one for name, one in RESULTS.items() if "class" in one and " " not in name and not name.startswith("use_")
}


def training(name: str, **options: Any) -> TrainingOptions:
    return TrainingOptions(optimizer_type="" if name == "(empty)" else name, **options)


@pytest.mark.parametrize("name", CLASSES)
def test_names_mean_the_fields_classes_with_the_fields_values(name: str) -> None:
    expected = RESULTS[name]
    optimizer = built("" if name == "(empty)" else name, parameters())
    arguments = expected["args"]
    if name != "Adafactor":
        optimizer.param_groups[0]["lr"] = expected["group"]["lr"]
    assert describe(optimizer, optimizer_arguments(training(name))) == expected["class"] + (
        f"({arguments})" if arguments else ""
    )
    ours = {"fused", "d0", "d", "d_max", "d_prev"}  # computed on the device; and what this test begins with
    values = {key: one for key, one in optimizer.param_groups[0].items() if key != "params"}
    values = {key: "inf" if one == float("inf") else one for key, one in values.items()}
    group = json.loads(json.dumps(values, default=float))
    newer = name.startswith("prodigyplus")  # the version here is not the one that was measured
    differing = {
        key for key, one in expected["group"].items() if key not in ours and key in group and group[key] != one
    }
    assert not differing or newer
    assert len(expected["group"].keys() & group.keys()) > len(expected["group"]) / 2


@pytest.mark.parametrize("name", ["adamw8BIT", "PRODIGY", " lion ", "dadaptadam"])
def test_names_of_the_field_are_found_in_any_case(name: str) -> None:
    assert choose_optimizer(training(name)).name in {one.name for one in NAMED}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AdamW8bits", "did you mean 'AdamW8bit'"),
        ("adam", "did you mean 'Adam'"),
        ("DAdaptFoo", "no optimizer is called 'DAdaptFoo'"),
        ("LBFGS", "computes the loss again"),
        ("SparseAdam", "sparse gradients"),
        ("no_such_package.Adam", "needs the package no_such_package, which is not installed"),
        ("json.JSONDecoder", "would be imported from|comes from no installed package"),
        ("../evil.Adam", "no optimizer is called"),
    ],
)
def test_what_cannot_be_chosen_is_told(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose_optimizer(training(name))


@pytest.mark.parametrize(
    ("module", "fix"),
    [
        ("prodigyopt", 'pip install "loracore[prodigy]"'),
        ("dadaptation.experimental", 'pip install "loracore[dadaptation]"'),
        ("prodigyplus", 'pip install "loracore[prodigy-plus]"'),
        ("some_thing.optim", "pip install some-thing"),
    ],
)
def test_a_missing_package_names_what_to_install(module: str, fix: str) -> None:
    assert missing_package(module).problems[0].fix == fix


def test_every_class_of_torch_is_known() -> None:
    there = {
        name
        for name, one in vars(torch.optim).items()
        if isinstance(one, type) and issubclass(one, torch.optim.Optimizer)
    }
    assert {*TORCH_OPTIMIZERS} == there - {"Optimizer"}
    assert {*REFUSED} <= there


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("AdamWScheduleFree", True),
        ("prodigyplus.ProdigyPlusScheduleFree", True),
        ("pytorch_optimizer.ScheduleFreeAdamW", True),
        ("schedulefree.RAdamScheduleFree", True),
        ("AdamW", False),
    ],
)
def test_findings_know_schedule_free_optimizers_by_their_names(name: str, free: bool) -> None:
    assert is_schedule_free(training(name)) is free


def test_the_origin_names_class_distribution_and_version() -> None:
    assert optimizer_origin(training("Prodigy")) == "prodigyopt.Prodigy of prodigyopt 1.1.2"


def install(folder: Path, package: str, offers: str = "") -> None:
    """Put a package with an optimizer there, as an installer would."""
    (folder / package).mkdir(parents=True)
    source = "import torch\n\n\nclass Own(torch.optim.SGD):\n    pass\n"
    (folder / package / "__init__.py").write_text(source, encoding="utf-8")
    told = folder / f"{package}-1.5.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n", encoding="utf-8")
    (told / "RECORD").write_text(f"{package}/__init__.py,,\n", encoding="utf-8")
    if offers:
        text = f"[loracore.optimizers]\n{offers} = {package}:Own\n"
        (told / "entry_points.txt").write_text(text, encoding="utf-8")


def test_an_installed_package_may_offer_an_optimizer_by_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "h1_offering", "own_sgd")
    monkeypatch.syspath_prepend(tmp_path)
    assert optimizer_origin(training("own_sgd")) == "h1_offering.Own of h1_offering 1.5"
    assert type(built("own_sgd", parameters())).__name__ == "Own"


def test_two_packages_that_offer_one_name_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "h1_first", "same")
    install(tmp_path, "h1_second", "same")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoracoreError, match=r"claimed by two packages: h1_first 1\.5 and h1_second 1\.5"):
        choose_optimizer(training("same"))


@pytest.mark.parametrize("with_metadata", [True, False])
def test_nothing_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_metadata: bool
) -> None:
    install(tmp_path, "h1_beside")
    if not with_metadata:
        (tmp_path / "h1_beside-1.5.dist-info").rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(os.curdir)
    with pytest.raises(ConfigError, match=r"would be imported from .*, which belongs to no installed package"):
        choose_optimizer(training("h1_beside.Own"))
    assert "h1_beside" not in sys.modules


def test_a_package_that_is_developed_elsewhere_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "h1_edited")
    (tmp_path / "source").mkdir()
    (tmp_path / "site" / "h1_edited").rename(tmp_path / "source" / "h1_edited")
    told = {"url": (tmp_path / "source").as_uri(), "dir_info": {"editable": True}}
    (tmp_path / "site" / "h1_edited-1.5.dist-info" / "direct_url.json").write_text(json.dumps(told), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "source")
    assert choose_optimizer(training("h1_edited.Own")).origin == "h1_edited 1.5"
