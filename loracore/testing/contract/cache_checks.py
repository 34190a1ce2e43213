"""What the keys of caches leave out: an option that changes what is encoded, and that nobody tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.declared import Option, declare
from loracore.config.options import CacheKind
from loracore.config.plugin_findings import plugin_findings
from loracore.testing.contract.bench import Bench
from loracore.testing.contract.encoding_checks import CAPTIONS, image_question, pictures, text_question
from loracore.testing.contract.extension_options import other_values
from loracore.testing.contract.faults import CannotGoOn, Fault, place
from loracore.testing.contract.module_checks import implementations
from loracore.testing.contract.probing import copied, differing, tensors_in


@dataclass(frozen=True, slots=True)
class _Cache:
    kind: CacheKind
    part: str
    hook: str


_CACHES = (_Cache("text", "text", "encode_text"), _Cache("latents", "vae", "encode_images"))


@dataclass(frozen=True, slots=True)
class _Change:
    """One option, and another value of it."""

    option: Option
    value: Any


def cache_faults(bench: Bench) -> Iterator[Fault]:
    """Give the plugin's own options of which captions or pictures depend, and the keys of their caches do not.

    Other values are tried where neither ``affects`` nor ``cache_identity`` tells them: all at once, and by halves where
    that changes something. Texts and lists are left out, and values that ``check_options`` refuses.
    """
    own = implementations(bench.subject)
    for cache in _CACHES:
        if bench.answers(cache.hook) and "options" in own:
            options = declare([(bench.subject.title, own["options"]())]).options.values()
            key = _key(bench, cache)
            changes = [one for one in (_untold(bench, cache, option, key) for option in options) if one is not None]
            if changes:
                plain = _encoded(bench, cache)
                yield from (_fault(cache, one) for one in _culprits(bench, cache, plain, changes))


def _untold(bench: Bench, cache: _Cache, option: Option, key: object) -> _Change | None:
    """Return an allowed change of an option that leaves the cache's key as it is, or None."""
    for value in other_values(option, dict(bench.config)[option.name]):
        changed = _changed(bench, [_Change(option, value)])
        if changed is not None and _key(changed, cache) == key:
            return _Change(option, value)
    return None


def _changed(bench: Bench, changes: Sequence[_Change]) -> Bench | None:
    """Return the run with other options, or None where they do not go together."""
    config = bench.config.with_values({one.option.name: one.value for one in changes})
    try:
        judged = plugin_findings(bench.plugins.hook, config)
    except Exception:  # noqa: BLE001  # it was asked with the options of the run, and answered
        return None
    return None if judged.problems else replace(bench, config=judged.config)


def _key(bench: Bench, cache: _Cache) -> tuple[str, Mapping[str, Any]]:
    """Return what tells two runs' caches apart, as far as options do.

    The toy leaves ``cache_identity`` to the core, which knows every option: other architectures know no extension's.
    """
    config: Config = bench.config
    known = bench.subject.plugin.kind == "architecture" or bench.answers("cache_identity")
    identity: str = bench.ask("cache_identity", str, part=cache.part) if known else ""
    return identity, config.affecting(cache.kind)


def _encoded(bench: Bench, cache: _Cache) -> Mapping[str, Tensor]:
    models = bench.load(cache.part)
    kinds = {
        "text": lambda: text_question(models, CAPTIONS),
        "latents": lambda: image_question(models, _pictures(bench)),
    }
    with torch.no_grad():
        return copied(kinds[cache.kind]().put(bench))


def _pictures(bench: Bench) -> Tensor:
    return pictures(bench.size, len(CAPTIONS))


def _culprits(
    bench: Bench, cache: _Cache, plain: Mapping[str, Tensor], changes: Sequence[_Change]
) -> Iterator[_Change]:
    """Give the changes by which something else is encoded; one after which nothing can be is nobody's fault here."""
    changed = _changed(bench, changes)
    if changed is not None:
        try:
            if not differing(plain, tensors_in(_encoded(changed, cache))):
                return
        except CannotGoOn:
            changed = None
    if len(changes) > 1:
        half = len(changes) // 2
        for some in (changes[:half], changes[half:]):
            yield from _culprits(bench, cache, plain, some)
    elif changed is not None:
        yield changes[0]


def _fault(cache: _Cache, change: _Change) -> Fault:
    name = change.option.name
    message = (
        f"another value ({change.value!r}) changes what {cache.hook} gives, which neither affects nor cache_identity"
        " tells: two runs share cached answers that differ"
    )
    fix = f'write affects={{"{cache.kind}"}} in its option(…)'
    return Fault(f"option {name}", place(change.option.table), message, fix)
