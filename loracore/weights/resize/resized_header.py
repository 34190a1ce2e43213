"""What the header of a resized LoRA says: its ranks now, and all else as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping

from loracore.weights.convert.scales import SETTINGS
from loracore.weights.resize.new_ranks import NewRanks

_DYNAMIC = "Dynamic"
_DIM, _ALPHA, _ARGS, _COMMENT = "ss_network_dim", "ss_network_alpha", "ss_network_args", "ss_training_comment"
#: What arguments of a network that give ranks to some of its modules end with.
_RANKS = ("_dim", "_dims", "_alpha", "_alphas")


def resized_header(
    metadata: Mapping[str, str],
    linear: tuple[int, float] | None,
    conv: tuple[int, float] | None,
    ranks: NewRanks,
) -> dict[str, str]:
    """Return the header without hashes; ``linear`` and ``conv`` are rank and alpha that most modules have.

    Rules by which some modules had ranks of their own (block_dims and the like) no longer say what the file holds, and
    are left out.
    """
    kept = {name: value for name, value in metadata.items() if not name.startswith("sshs_") and name != SETTINGS}
    dim, alpha = _said(linear or conv, ranks)
    own = {_DIM: dim, _ALPHA: alpha}
    if _ARGS in kept:
        own[_ARGS] = _arguments(kept[_ARGS], conv, ranks)
    note = f"dimension is resized from {kept.get(_DIM, 'unknown')} to {_rule(ranks)}"
    said = kept.get(_COMMENT, "None")
    own[_COMMENT] = note if said in {"", "None"} else f"{note}; {said}"
    return {**kept, **own, "format": "pt"}


def _said(found: tuple[int, float] | None, ranks: NewRanks) -> tuple[str, str]:
    if ranks.dynamic is not None or found is None:
        return _DYNAMIC, _DYNAMIC
    return str(found[0]), f"{found[1]:g}"


def _rule(ranks: NewRanks) -> str:
    if ranks.dynamic is None:
        return str(ranks.linear)
    return f"{ranks.dynamic.method} {ranks.dynamic.parameter:g}, at most {ranks.linear}"


def _arguments(text: str, conv: tuple[int, float] | None, ranks: NewRanks) -> str:
    """Return the network's arguments with the ranks of convolutions, as JSON; what is no JSON object stays as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, dict):
        return text
    kept = {name: value for name, value in found.items() if not name.endswith(_RANKS)}
    if conv is not None:
        kept["conv_dim"], kept["conv_alpha"] = _said(conv, ranks)
    return json.dumps(kept)
