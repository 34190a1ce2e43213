"""What a plugin gets wrong when it is asked says whose it is; what users can mend stays as it is."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pluggy
import pytest

from loracore.defaults import DEFAULT_PLUGINS
from loracore.errors import ConfigError, PluginError
from loracore.plugin_faults import blamed, place
from loracore.plugins import assemble, imported_titles
from tests.loracore.conftest import PLUGIN, Install

pytestmark = pytest.mark.usefixtures("toys")

RAISES = PLUGIN + "@hookimpl\ndef prepare_batch(batch): return batch.broken\n"
WRAPS = PLUGIN + "@hookimpl(wrapper=True)\ndef prepare_batch(batch):\n    return (yield)\n"


def prepared(install: Install, source: str, batch: object = "a batch") -> Any:
    """Return what the hook answers in a run with an extension of this source."""
    install("odd", "extension", "odd", PLUGIN + source)
    return asked(assemble("toy", "toynet", ["odd"], DEFAULT_PLUGINS), batch)


def asked(manager: pluggy.PluginManager, batch: object = "a batch") -> Any:
    return manager.hook.prepare_batch(batch=batch, rng=None, training=True, config=None)


def test_an_error_of_a_plugin_names_plugin_version_and_hook_and_keeps_its_traceback(install: Install) -> None:
    with pytest.raises(AttributeError) as caught:
        prepared(install, "@hookimpl\ndef prepare_batch(batch): return batch.broken\n")
    assert blamed(caught.value) == "extension 'odd' (odd 1.5) fails in the hook 'prepare_batch':"
    assert "return batch.broken" in "".join(traceback.format_exception(caught.value))


def test_an_error_that_another_one_comes_from_is_known_too(install: Install) -> None:
    def explained() -> None:
        try:
            prepared(install, "@hookimpl\ndef prepare_batch(batch): return batch.broken\n")
        except AttributeError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError) as caught:
        explained()
    assert "'odd'" in blamed(caught.value)


def test_a_plugins_own_words_for_its_users_stay_as_they_are(install: Install) -> None:
    source = "from loracore import ConfigError\n@hookimpl\ndef prepare_batch(): raise ConfigError('too big')\n"
    with pytest.raises(ConfigError, match=r"^too big$") as caught:
        prepared(install, source)
    assert blamed(caught.value) == ""


def test_who_wraps_is_not_blamed_for_what_is_inside(install: Install) -> None:
    install("inner", "extension", "inner", RAISES)
    install("outer", "extension", "outer", WRAPS)
    with pytest.raises(AttributeError) as caught:
        asked(assemble("toy", "toynet", ["inner", "outer"], DEFAULT_PLUGINS))
    assert "extension 'inner'" in blamed(caught.value)


def test_an_error_of_the_core_blames_no_plugin_around_it(install: Install) -> None:
    install("outer", "extension", "outer", WRAPS.replace("prepare_batch(batch)", "draw_noise(batch)"))
    manager = assemble("toy", "toynet", ["outer"], DEFAULT_PLUGINS)
    with pytest.raises(AttributeError) as caught:
        manager.hook.draw_noise(batch=None, rng=None, config=None)
    assert blamed(caught.value) == ""


def test_none_where_an_answer_is_needed_says_who_where_and_what_to_return(install: Install) -> None:
    with pytest.raises(PluginError, match=r"extension 'odd' \(odd 1\.5\) gives None .*'prepare_batch'") as caught:
        prepared(install, "@hookimpl\ndef prepare_batch(batch): batch = 'another'\n")
    (problem,) = caught.value.problems
    assert problem.where.endswith("odd_odd_module.py:6")
    assert problem.fix.startswith("return the batch as it is trained on")


def test_a_wrapper_that_forgets_to_return_says_what_to_write(install: Install) -> None:
    with pytest.raises(PluginError, match="return what the yield gives"):
        prepared(install, "@hookimpl(wrapper=True)\ndef prepare_batch():\n    yield\n")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if False: yield\n    return 1", "wraps without a yield"),
        ("yield\n    yield\n    return 1", "yields a second time"),
    ],
)
def test_a_wrapper_that_does_not_yield_once_is_an_error(install: Install, body: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        prepared(install, f"@hookimpl(wrapper=True)\ndef prepare_batch():\n    {body}\n")


ADAPTER = """
def forward(batch): return batch.missing
@hookimpl
def build_adapter(target): return forward
"""
CALLS = PLUGIN + "@hookimpl\ndef prepare_batch(batch, config): return config(batch)\n"


def test_an_error_in_another_plugins_code_is_that_plugins(install: Install) -> None:
    module = install("loracore-bad", "network", "bad", PLUGIN + ADAPTER)
    install("caller", "extension", "caller", CALLS)
    manager = assemble("toy", "bad", ["caller"], DEFAULT_PLUGINS)
    forward = vars(sys.modules[module])["forward"]
    with pytest.raises(AttributeError) as caught:
        manager.hook.prepare_batch(batch=None, rng=None, training=True, config=forward)
    assert blamed(caught.value) == (
        "network 'bad' (loracore-bad 1.5) fails, while extension 'caller' (caller 1.5) answers the hook "
        "'prepare_batch':"
    )


def test_an_error_outside_of_every_hook_is_that_of_the_plugin_whose_code_it_is(install: Install) -> None:
    module = install("loracore-bad", "network", "bad", PLUGIN + ADAPTER)
    assemble("toy", "bad", [], DEFAULT_PLUGINS)
    with pytest.raises(AttributeError) as caught:
        vars(sys.modules[module])["forward"](None)
    assert blamed(caught.value, imported_titles()) == "network 'bad' (loracore-bad 1.5) fails:"


@pytest.mark.parametrize("source", ["@hookimpl\ndef", "@hookimpl(wrapper=True)\ndef"])
def test_a_hook_that_ends_the_program_is_a_failing_plugin(install: Install, source: str) -> None:
    body = "prepare_batch():\n    raise SystemExit(3)\n" + ("    yield\n" if "wrapper" in source else "")
    with pytest.raises(PluginError, match=r"extension 'odd' \(odd 1\.5\) ends the program in .*SystemExit: 3"):
        prepared(install, f"{source} {body}")


def test_a_generator_as_an_answer_is_read_where_its_error_is_known(install: Install) -> None:
    source = "@hookimpl\ndef check_options(config):\n    yield 1\n    yield config.broken\n"
    install("odd", "extension", "odd", PLUGIN + source)
    manager = assemble("toy", "toynet", ["odd"], DEFAULT_PLUGINS)
    caller = manager.subset_hook_caller("check_options", [manager.get_plugin("architecture")])
    with pytest.raises(AttributeError) as caught:
        caller(config=None)
    assert "extension 'odd'" in blamed(caught.value)


def test_a_wrapper_may_catch_what_is_raised_inside(install: Install) -> None:
    install("inner", "extension", "inner", RAISES)
    body = "    try: return (yield)\n    except AttributeError: return 'mended'\n"
    install("outer", "extension", "outer", PLUGIN + f"@hookimpl(wrapper=True)\ndef prepare_batch():\n{body}")
    assert asked(assemble("toy", "toynet", ["inner", "outer"], DEFAULT_PLUGINS)) == "mended"


def test_a_hook_whose_specification_says_none_may_answer_it(install: Install) -> None:
    install("odd", "extension", "odd", PLUGIN + "@hookimpl\ndef demo(): return None\n")
    assert assemble("toy", "toynet", ["odd"], DEFAULT_PLUGINS).hook.demo(config=None) is None


def test_a_hook_that_is_told_returns_nothing(install: Install) -> None:
    install("odd", "extension", "odd", PLUGIN + "@hookimpl\ndef epoch_done(): pass\n")
    manager = assemble(None, None, ["odd"], ())
    assert manager.hook.epoch_done(run=None, epoch=1, step=1) == []


def test_the_place_of_a_watched_hook_is_the_plugins_own(install: Install) -> None:
    install("odd", "extension", "odd", WRAPS)
    manager = assemble("toy", "toynet", ["odd"], DEFAULT_PLUGINS)
    (answer,) = [one for one in manager.hook.prepare_batch.get_hookimpls() if one.plugin_name == "extension odd"]
    assert place(answer.function).endswith("odd_odd_module.py:6")
