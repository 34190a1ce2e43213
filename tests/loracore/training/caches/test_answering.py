from __future__ import annotations

from typing import Any

import pluggy

from loracore import hookspecs
from loracore.hookspecs import hookimpl
from loracore.training.caches.answering import answering


class Wrapper:
    @hookimpl(wrapper=True)
    def encode_images(self) -> Any:
        return (yield)


def test_who_answers_or_wraps_a_hook_is_known() -> None:
    from loracore.defaults import answers
    from loracore.testing import toy

    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    manager.register(answers, name="default answers")
    manager.register(toy, name="architecture")
    assert answering(manager.hook.encode_images) == ["loracore.testing.toy"]
    manager.register(Wrapper())
    assert set(answering(manager.hook.encode_images)) == {"loracore.testing.toy", f"{__name__}.Wrapper"}
    assert answering(manager.hook.prepare_batch) == []
