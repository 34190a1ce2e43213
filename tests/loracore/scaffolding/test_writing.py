from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import tomli
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions
from loracore.config.given import Given
from loracore.config.needs import MODEL, missing
from loracore.errors import PluginError
from loracore.plugins import GROUPS, Kind
from loracore.scaffolding.kinds import KINDS
from loracore.scaffolding.naming import Names
from loracore.scaffolding.writing import write_package

#: What every kind has, beside pictures and its modules.
SHARED = {
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "loracore_blot/py.typed",
    "pyproject.toml",
    "tests/test_contract.py",
    "toy.toml",
}


@pytest.fixture(params=sorted(GROUPS))
def names(request: pytest.FixtureRequest) -> Names:
    return Names("blot", request.param)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_package_is_complete(names: Names, tmp_path: Path) -> None:
    folder = write_package(names, tmp_path)
    assert folder == tmp_path / "loracore-blot"
    modules = {f"loracore_blot/{name}" for name in KINDS[names.kind].files}
    pictures = {f"toy/pictures/{number}{suffix}" for number in range(6) for suffix in (".png", ".txt")}
    assert files(folder) == SHARED | modules | pictures


def test_no_placeholder_is_left(names: Names, tmp_path: Path) -> None:
    folder = write_package(names, tmp_path)
    texts = {name: (folder / name).read_text("utf-8") for name in files(folder) if not name.endswith(".png")}
    assert [name for name, text in texts.items() if "$" in text.replace("${{ matrix.python }}", "")] == []
    for name, text in texts.items():
        if name.endswith(".py"):
            ast.parse(text, name)
        elif name.endswith(".toml"):
            tomli.loads(text)


def test_an_alpha_of_0_is_the_rank_as_a_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(write_package(Names("inkblot", "network"), tmp_path)))
    own, adapter = import_module("loracore_inkblot.options"), import_module("loracore_inkblot.adapter")
    config = Config([NetworkOptions(network_dim=2, network_alpha=0), own.InkblotOptions()], {})
    target = LoraTarget("lora_unet_mix", (nn.Linear(3, 4),), ("mix",), "unet")
    alpha = adapter.build(target, None, config).alpha_value
    assert (alpha, type(alpha)) == (2.0, float)


def test_a_toy_base_model_is_named_like_one_of_the_hub(tmp_path: Path) -> None:
    folder = write_package(Names("blot", "architecture"), tmp_path)
    toy = tomli.loads((folder / "toy.toml").read_text("utf-8"))
    assert missing({MODEL: Given(MODEL, toy[MODEL], "toy.toml")}, ()) == []


def test_the_entry_point_has_the_name_and_its_kinds_group(names: Names, tmp_path: Path) -> None:
    project = tomli.loads((write_package(names, tmp_path) / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"] == {f"loracore.{names.kind}s": {"blot": "loracore_blot"}}
    assert project["name"] == "loracore-blot"


def test_every_kind_of_plugin_with_hooks_has_its_words() -> None:
    assert set(KINDS) == set(GROUPS) == set(get_args(Kind)) - {"optimizer"}


def test_the_folder_is_made_where_it_is_missing_and_may_be_read_like_any_other(tmp_path: Path) -> None:
    folder = write_package(Names("blot", "extension"), tmp_path / "some" / "where")
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    assert folder.stat().st_mode == ordinary.stat().st_mode
    assert [path.name for path in folder.parent.iterdir()] == ["loracore-blot"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "loracore-blot").mkdir()
    with pytest.raises(PluginError, match=r"loracore-blot: this is there already \(move it"):
        write_package(Names("blot", "network"), tmp_path)
    assert files(tmp_path) == set()


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    name = "İ" * 120  # the package's, in small letters, is too long for a folder; those of other files are not
    with pytest.raises(PluginError, match=r"cannot be written: File name too long.*choose another --into"):
        write_package(Names(name, "network"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PluginError, match="cannot be written"):
        write_package(Names("blot", "network"), tmp_path / "file")
