from __future__ import annotations

from dataclasses import dataclass

from loracore import Config
from loracore.config.options import CORE_OPTIONS
from loracore.weights.unwritten_parts import how_to_write


@dataclass(frozen=True, slots=True)
class Parts:
    save_first: bool = False
    save_second: bool = True
    save_third: bool = False


def test_the_architectures_own_switches_are_named() -> None:
    tables = [*(table() for table in CORE_OPTIONS), Parts()]
    assert how_to_write(Config(tables, {})) == "of --save_first, --save_third, add those that write these parts"


def test_without_switches_the_whole_model_is_the_cure() -> None:
    assert how_to_write(Config([], {})) == "use the whole base model"
