"""What the source of a class says of its arguments is what the class says of itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from loracore.config.updates.class_origins import is_installed
from loracore.config.updates.optimizer_names import NAMED, TORCH_OPTIMIZERS
from loracore.config.updates.schedule_names import TORCH_SCHEDULES
from loracore.config.updates.signatures import imported_signature, written_problems, written_signature

CLASSES = [
    *((one.module, one.kind) for one in NAMED),
    *(("torch.optim", kind) for kind in TORCH_OPTIMIZERS),
    *(("torch.optim.lr_scheduler", kind) for kind in TORCH_SCHEDULES),
]


@pytest.mark.parametrize(("module", "kind"), CLASSES)
def test_source_and_class_say_the_same(module: str, kind: str) -> None:
    if not is_installed(module):
        pytest.skip(f"{module} is not installed")
    written = written_signature(module, kind)
    assert written is not None
    real = imported_signature(vars(import_module(module))[kind])
    assert (written.kind, written.anything) == (real.kind, real.anything)
    assert written.defaults.keys() == real.defaults.keys()
    readable = {name: value for name, value in written.defaults.items() if value is not None}
    assert readable == {name: real.defaults[name] for name in readable}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that writes a package which must not be imported."""
    (tmp_path / "strange").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> None:
        (tmp_path / "strange" / "__init__.py").write_text(source + "\nraise SystemExit\n", encoding="utf-8")

    return write


@pytest.mark.parametrize(
    "source",
    [
        "Odd = make()",
        "class Odd(Other): pass",
        "class Odd:\n    @wrapped\n    def __init__(self, rate=1): pass",
        "from .missing import Odd",
        "from strange import Odd",
    ],
)
def test_what_is_not_said_plainly_is_left_to_the_class(package: Callable[[str], None], source: str) -> None:
    package(source)
    assert written_signature("strange", "Odd") is None
    assert list(written_problems("strange", "Odd", {"anything": "text"}, frozenset(), "optimizer_args")) == []


def test_text_is_refused_where_numbers_stand(package: Callable[[str], None]) -> None:
    package("class Odd:\n    def __init__(self, params, *, rate=1.0, way='sum', limit=None, **more): pass")
    given = {"rate": "fast", "way": "mean", "limit": "no", "other": "x", "params": "y"}
    found = list(written_problems("strange", "Odd", given, frozenset({"params"}), "optimizer_args"))
    assert [one.message for one in found] == [
        "Odd cannot take rate=fast, which is text",
        "Odd takes no argument 'params'",
    ]
