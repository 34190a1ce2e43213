"""Which text encoders of a run speak once, which in every step, and which adapters stay as they start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from loracore.config.config import Config
from loracore.config.options import DataOptions
from loracore.errors import ConfigError
from loracore.networks.network import Network
from loracore.networks.rates import moves
from loracore.types import Part


@dataclass(frozen=True, slots=True)
class TextSplit:
    """The text encoders by what becomes of them; ("text",) stands for all that the model has."""

    cached: tuple[Part, ...] = ("text",)  # say the same in every step, so that captions are encoded once
    live: tuple[Part, ...] = ()  # encode in every step
    still: tuple[Part, ...] = ()  # of the cached ones: have adapters, which never move and change nothing


#: What becomes of text encoders without adapters.
ALL_CACHED = TextSplit()


def split_text(encoders: Sequence[Part], network: Network, config: Config, started: Collection[str]) -> TextSplit:
    """Return what becomes of the text encoders of a run with this network.

    Every kind of adapter starts with no change at all: those that never move (learning rate 0) leave an encoder as it
    is, unless ``network_weights`` has modules for it: it has those of the parts ``started``.
    """
    adapted = {entry.target.part for entry in network.entries}
    moved = _moved(network, config)
    live = tuple(part for part in encoders if part in adapted and (part in moved or part in started))
    still = tuple(part for part in encoders if part in adapted and part not in live)
    if not live:
        return TextSplit(still=still)
    if len(live) == len(encoders):
        return TextSplit((), ("text",))
    return TextSplit(tuple(part for part in encoders if part not in live), live, still)


def split_notes(split: TextSplit) -> Iterator[str]:
    """Give a note where some text encoders are cached, and others are not."""
    if split.cached and split.live:
        once, always = ", ".join(split.cached), ", ".join(split.live)
        yield f"captions are encoded once by {once}, and in every step by {always}, whose adapters change what they say"


def check_text_cache(split: TextSplit, encoders: Sequence[Part], network: Network, config: Config) -> None:
    """Raise ConfigError when captions are to be encoded once, and no text encoder says the same in every step."""
    if split.cached or not config[DataOptions].demands_text_cache:
        return
    given = ("cache_text_encoder_outputs_to_disk", "cache_text_encoder_outputs")
    name = next((name for name in given if config.given(name)), given[-1])
    moved = _moved(network, config)
    still = [part for part in encoders if part not in moved]
    reason = "every text encoder of this model trains"
    if still:
        trained = "".join(f"{part} trains, " for part in encoders if part in moved)
        reason = f"{trained}{', '.join(still)}: learning rate 0, but with what network_weights has for them"
    message = f"cached text-encoder outputs would be stale: {reason}"
    raise ConfigError(message, where=config.place(name), fix=f"add --network_train_unet_only, or drop {name}")


def _moved(network: Network, config: Config) -> set[Part]:
    return {entry.target.part for entry in network.entries if moves(entry.target, config)}
