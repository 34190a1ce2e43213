"""The plugin whose code an exception went through last is known by the files of its package."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from loracore.plugin_packages import file_of, raiser

TITLES = {
    "moonshine": "architecture 'moon'",
    "moonshine_nets.low": "network 'low'",
    "moonshine_nets.high": "network 'high'",
}
SOURCES = {
    "moonshine/__init__.py": "from moonshine import inner\ndef hook(call):\n    inner.work(call)\n",
    "moonshine/inner.py": "def work(call):\n    call('{')\n",
    "moonshine_nets/__init__.py": "",
    "moonshine_nets/shared.py": "import json\ndef parse(text):\n    json.loads(text)\n",
    "moonshine_nets/low/__init__.py": "from moonshine_nets.low.layer import forward\n",
    "moonshine_nets/low/layer.py": "import json\ndef forward(text):\n    json.loads(text)\n",
    "moonshine_nets/high.py": "from moonshine_nets.shared import parse\n",
}


@pytest.fixture
def error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ValueError:
    """Give what is raised where the architecture calls the function that the test names."""
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    module, function = request.param
    call = vars(import_module(module))[function] if module else int
    with pytest.raises(ValueError, match=r".") as caught:
        import_module("moonshine").hook(call)
    return caught.value


@pytest.mark.parametrize("error", [("moonshine_nets.low", "forward")], indirect=True)
def test_the_innermost_package_counts_and_not_who_called_it(error: ValueError) -> None:
    assert raiser(error, TITLES) == "network 'low'"


@pytest.mark.parametrize("error", [("", "")], indirect=True)
def test_what_a_library_raises_is_whose_line_called_it(error: ValueError) -> None:
    assert raiser(error, TITLES) == "architecture 'moon'"


@pytest.mark.parametrize("error", [("moonshine_nets.shared", "parse")], indirect=True)
def test_what_several_share_is_of_the_one_that_runs(error: ValueError) -> None:
    running = {module: title for module, title in TITLES.items() if not module.endswith("high")}
    assert raiser(error, running) == "network 'low'"
    assert raiser(error, TITLES) == "network 'high'"  # its module lies beside the line


@pytest.mark.parametrize("error", [("", "")], indirect=True)
def test_who_is_no_part_of_it_is_not_named(error: ValueError) -> None:
    assert raiser(error, {"moonshine_nets.low": "network 'low'", "moon.light": "nowhere"}) == ""


def test_the_core_is_nobodys_package() -> None:
    with pytest.raises(AttributeError) as caught:
        raiser(1, {})  # type: ignore[arg-type]  # an error in the core on purpose
    assert raiser(caught.value, {"loracore.testing.toy": "architecture 'toy'"}) == ""


def test_a_module_that_is_nowhere_has_no_file() -> None:
    assert file_of("moon.light") is None
