"""Every hook says when it is called and what it returns; the file costs no torch."""

from __future__ import annotations

import inspect
import re

import pytest

from loracore import hookspecs
from loracore.defaults import DEFAULT_PLUGINS
from loracore.plugins import assemble

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and "loracore_spec" in vars(function)
}


def test_the_five_hooks_of_the_project_are_there() -> None:
    assert {"load_models", "encode_text", "predict_noise", "loss_weighting", "lora_targets"} <= set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_it_gives_or_when_it_is_told(name: str) -> None:
    lines = (HOOKS[name].__doc__ or "").splitlines()
    assert re.match(r"Return |Told ", lines[0])


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_that_tell_are_heard_by_all_and_others_say_how_answers_count(name: str) -> None:
    first_result = vars(HOOKS[name])["loracore_spec"]["firstresult"]
    doc = HOOKS[name].__doc__ or ""
    assert first_result != (doc.startswith("Told ") or "Answered by everybody." in doc)


def test_every_default_of_the_core_answers_hooks_that_exist() -> None:
    manager = assemble(None, None, (), DEFAULT_PLUGINS)
    assert len(manager.list_name_plugin()) == len(DEFAULT_PLUGINS)
