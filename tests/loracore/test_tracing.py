"""A trace tells every hook call when it begins and when it has its answer."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pluggy
import pytest

from loracore.defaults import DEFAULT_PLUGINS
from loracore.plugins import assemble
from loracore.tracing import trace
from tests.loracore.conftest import PLUGIN, Install

pytestmark = pytest.mark.usefixtures("toys")

AROUND = PLUGIN + "@hookimpl(wrapper=True)\ndef prepare_batch(batch):\n    return (yield)\n"
RAISES = PLUGIN + "@hookimpl\ndef demo(): return 1 / 0\n"
NESTED = PLUGIN + "@hookimpl\ndef check_models(config): config.demo(config=None)\n"


def traced(install: Install, source: str = PLUGIN) -> tuple[pluggy.PluginManager, list[str]]:
    """Return a manager and its trace's lines to come; each look at the clock is a quarter of a second later."""
    install("ext", "extension", "ext", source)
    manager, lines = assemble("toy", "toynet", ["ext"], DEFAULT_PLUGINS), list[str]()
    ticks = itertools.count(0, 0.25)
    trace(manager, lines.append, lambda: next(ticks))
    return manager, lines


def prepare(manager: pluggy.PluginManager) -> Any:
    return manager.hook.prepare_batch(batch="a batch", rng=None, training=True, config=None)


def test_a_call_has_a_line_with_its_arguments_and_one_with_its_answer(install: Install) -> None:
    manager, lines = traced(install)
    assert prepare(manager) == "a batch"
    assert lines == [
        "   0.250 s  prepare_batch(batch='a batch', rng=None, training=True, config=None)",
        "   1.000 s  prepare_batch = 'a batch'  250.0 ms  core (answers)",
    ]


def test_who_wraps_an_answer_is_named_beside_who_gives_it(install: Install) -> None:
    manager, lines = traced(install, AROUND)
    prepare(manager)
    assert lines[-1].endswith("  core (answers), wrapped by extension ext")


def test_an_answer_that_is_collected_names_everybody_who_is_asked(install: Install) -> None:
    manager, lines = traced(install)
    manager.hook.options()
    assert lines[-1].endswith("  network, architecture")
    assert "options = [[ToyNetworkOptions], [ToyOptions]]" in lines[-1]


def test_a_hook_that_nobody_answers_says_so(install: Install) -> None:
    manager, lines = traced(install)
    manager.hook.check_models(parts=frozenset(), config=None)
    assert lines[-1].endswith("  nobody")


def test_an_error_is_told_and_goes_on_its_way(install: Install) -> None:
    manager, lines = traced(install, RAISES)
    with pytest.raises(ZeroDivisionError):
        manager.hook.demo(config=None)
    assert "demo = raised ZeroDivisionError" in lines[-1]
    assert lines[-1].endswith("extension ext else core (answers)")


def test_where_none_is_fine_everybody_is_named_who_may_have_answered(install: Install) -> None:
    manager, lines = traced(install, PLUGIN + "@hookimpl\ndef field_files(): return None\n")
    manager.hook.field_files(config=None)
    assert lines[-1].endswith("  extension ext else core (answers)")


def test_a_call_inside_another_is_indented(install: Install) -> None:
    manager, lines = traced(install, NESTED)
    manager.hook.check_models(parts=None, config=manager.hook)
    assert [re.sub(r"^ *[0-9.]+ s  ( *\w+ ?[(=]).*", r"\1", line) for line in lines] == [
        "check_models(",
        "  demo(",
        "  demo =",
        "check_models =",
    ]


def test_without_a_trace_nothing_stands_between_a_run_and_its_hooks(install: Install) -> None:
    install("ext", "extension", "ext", PLUGIN)
    plain, (watched, _) = assemble("toy", "toynet", ["ext"], DEFAULT_PLUGINS), traced(install)
    assert vars(plain)["_inner_hookexec"] is not vars(watched)["_inner_hookexec"]
    assert vars(plain)["_inner_hookexec"] is vars(pluggy.PluginManager("other"))["_inner_hookexec"]
