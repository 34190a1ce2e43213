"""What stands in the header of a LoRA that several networks were merged into."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version

from loracore.networks.spellings import ALPHA, DOWN
from loracore.weights.headers import BASE_VERSION
from loracore.weights.network_file import NetworkFile

#: What is said of the result where all files say the same of themselves: which model they are for.
_SHARED = (
    BASE_VERSION,
    "ss_v2",
    "ss_v_parameterization",
    "modelspec.architecture",
    "modelspec.implementation",
    "modelspec.prediction_type",
)


def joined_metadata(sources: Sequence[NetworkFile], title: str, made: NetworkFile) -> dict[str, str]:
    """Return the header of the file ``made`` of these; nothing of their trainings."""
    now = datetime.now(timezone.utc).astimezone().replace(microsecond=0, tzinfo=None)
    modules = {source.metadata.get("ss_network_module", "") for source in sources}
    name = modules.pop() if len(modules) == 1 else ""
    return {
        **_alike(sources),
        "format": "pt",
        "ss_network_module": name if name.startswith("networks.lora") else "networks.lora",
        **_ranks(made),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": title,
        "modelspec.date": now.isoformat(),
        "modelspec.implementation_version": f"loracore/{version('loracore')}",
        "modelspec.merged_from": ", ".join(source.path.name for source in sources),
    }


def _alike(sources: Sequence[NetworkFile]) -> dict[str, str]:
    found = {}
    for name in _SHARED:
        values = {source.metadata.get(name) for source in sources}
        value = values.pop() if len(values) == 1 else None
        if value is not None:
            found[name] = value
    return found


def _ranks(made: NetworkFile) -> dict[str, str]:
    """Return rank and alpha of the modules, and of larger convolutions where these have their own."""
    convs = [key for key in made.by_key if max(made.shapes[f"{key}.{DOWN}"][2:], default=1) > 1]
    others = [key for key in made.by_key if key not in set(convs)] or convs
    found = {"ss_network_dim": _rank(made, others), "ss_network_alpha": _alpha(made, others)}
    if convs and others != convs:
        arguments = {"conv_dim": _rank(made, convs), "conv_alpha": _alpha(made, convs)}
        found["ss_network_args"] = json.dumps(arguments)
    return found


def _rank(made: NetworkFile, keys: Collection[str]) -> str:
    return _one_of({made.shapes[f"{key}.{DOWN}"][0] for key in keys})


def _alpha(made: NetworkFile, keys: Collection[str]) -> str:
    tensors: Mapping[str, object] = made.read([f"{key}.{ALPHA}" for key in keys])
    return _one_of({float(tensor) for tensor in tensors.values()})  # type: ignore[arg-type]  # tensors of one number


def _one_of(values: Collection[float]) -> str:
    """Return the number that all modules share, or the field's word for several."""
    return str(next(iter(values))) if len(values) == 1 else "Dynamic"
