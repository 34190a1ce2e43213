"""Which kind of network a file's tensors are of, told by their names and shapes; no torch here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from loracore import Config, Finding, NetworkOptions
from loracore.weights.headers import Shape, adapter_header

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["lora", "dora", "loha", "lokr", "oft", "boft", "glora", "ia3", "full"]

#: What people call each kind.
TITLES: Mapping[Kind, str] = MappingProxyType(
    {
        "lora": "LoRA",
        "dora": "DoRA",
        "loha": "LoHa",
        "lokr": "LoKr",
        "oft": "OFT",
        "boft": "BOFT",
        "glora": "GLoRA",
        "ia3": "IA3",
        "full": "full difference",
    }
)
#: The option that chooses each kind.
CHOICES: Mapping[Kind, str] = MappingProxyType(
    {
        "lora": "--network_module lora",
        "dora": "--network_module dora",
        "loha": "--network_module loha",
        "lokr": "--network_module lokr",
        "oft": "--network_module oft",
        "boft": "--network_module lycoris --network_args algo=boft",
        "glora": "--network_module lycoris --network_args algo=glora",
        "ia3": "--network_module lycoris --network_args algo=ia3",
        "full": "--network_module lycoris --network_args algo=full",
    }
)
#: Tensors that only one kind has. Those of OFT and BOFT are told apart by their dimensions.
_MARKS: Mapping[str, Kind] = MappingProxyType(
    {
        "lora_down.weight": "lora",
        "lora_up.weight": "lora",
        "hada_w1_a": "loha",
        "hada_w1_b": "loha",
        "lokr_w1": "lokr",
        "lokr_w1_a": "lokr",
        "lokr_w2": "lokr",
        "lokr_w2_a": "lokr",
        "a1.weight": "glora",
        "b1.weight": "glora",
        "on_input": "ia3",
        "diff": "full",
    }
)
_BLOCKS = "oft_blocks"


def kind_of(shapes: Mapping[str, Sequence[int]]) -> Kind | None:
    """Return the kind of a module with these tensors ({"lora_down.weight": (4, 320), …}); None for no kind of ours."""
    if _BLOCKS in shapes:
        return "boft" if len(shapes[_BLOCKS]) == 4 else "oft"  # noqa: PLR2004  # stages, blocks, rows, columns
    kind = next((kind for name, kind in _MARKS.items() if name in shapes), None)
    return "dora" if kind == "lora" and "dora_scale" in shapes else kind


def kind_of_tensors(tensors: Mapping[str, Tensor]) -> Kind | None:
    """Return the kind of a module with these tensors, by the names behind its key; None for no kind of ours."""
    return kind_of({name: tensor.shape for name, tensor in tensors.items()})


def kinds_of_file(shapes: Mapping[str, Shape]) -> Mapping[Kind, str]:
    """Return the kinds that a file's modules are of, each with the key of its first module."""
    modules: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        key, _, rest = name.partition(".")
        modules.setdefault(key, {})[rest] = shape
    found: dict[Kind, str] = {}
    for key, own in modules.items():
        kind = kind_of(own)
        if kind is not None:
            found.setdefault(kind, key)
    return found


def file_findings(config: Config, own: Collection[Kind]) -> list[Finding]:
    """Return a finding when ``network_weights`` holds another kind than those that the chosen network trains.

    Raises DataError for a file that is missing or damaged. Pickles are not looked into here.
    """
    found = kinds_of_file(adapter_header(config[NetworkOptions].network_weights).shapes)
    others = [kind for kind in found if kind not in own]
    if not others:
        return []
    kind = others[0]
    message = f"the file is of another network than the chosen one: '{found[kind]}' is a {TITLES[kind]}"
    return [Finding("wrong", "network_weights", message, f"give {CHOICES[kind]}")]
