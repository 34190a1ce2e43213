"""A config is read back by the dataclass that declares the options."""

from __future__ import annotations

from loracore.config.config import Config, Finding
from loracore.config.dataset_spec import DatasetSpec
from tests.loracore.config.tables import Numbers, Words

CONFIG = Config([Numbers(rank=8), Words()], {"rank": "a.toml:3"})


def test_options_are_read_back_by_their_table() -> None:
    assert CONFIG[Numbers].rank == 8
    assert Words in CONFIG
    assert int not in CONFIG


def test_every_option_is_listed_with_its_value() -> None:
    assert dict(CONFIG) | {"rank": 8, "name": None} == dict(CONFIG)


def test_a_finding_is_placed_where_its_option_was_given() -> None:
    assert str(Finding("wrong", "rank", "too high", "lower it").problem(CONFIG)) == "a.toml:3: too high (lower it)"
    assert Finding("wrong", "alpha", "too high").problem(CONFIG).where == "--alpha"
    assert Finding("wrong", "rank", "too high", where="data.toml:7").problem(CONFIG).where == "data.toml:7"


def test_data_sets_come_later_and_leave_the_first_config_alone() -> None:
    dataset = DatasetSpec((64, 64), 1, False, 256, 1024, 64, False, ())
    other = CONFIG.with_datasets([dataset])
    assert (CONFIG.datasets, other.datasets, other.place("rank")) == ((), (dataset,), "a.toml:3")
