"""What LyCORIS's options say that is wrong, unsupported or without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from loracore import Config, Finding
from loracore_networks.dora.options import findings as dora_findings
from loracore_networks.dylora.options import findings as dylora_findings
from loracore_networks.kinds import Kind
from loracore_networks.lokr.options import findings as lokr_findings
from loracore_networks.lora.options import file_findings_of
from loracore_networks.lora.options import findings as lora_findings
from loracore_networks.lycoris.options import LycorisOptions, translated
from loracore_networks.oft.options import norm_findings

_LOW_RANK = frozenset({"lora", "locon", "dora", "dylora"})
_SCALED = _LOW_RANK | {"loha", "lokr", "glora"}
_OFT = frozenset({"diag-oft", "boft"})
_TUCKER = frozenset({"lora", "locon", "dora", "loha", "lokr"})

#: The algorithms that an option is for; every other option is for all.
_MEANT_FOR: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "network_dim": _SCALED | _OFT,
        "network_alpha": _SCALED,
        "conv_alpha": _SCALED,
        "rs_lora": _SCALED,
        "use_tucker": _TUCKER,
        "use_cp": _TUCKER,
        "use_conv_cp": _TUCKER,
        "disable_conv_cp": _TUCKER,
        "constraint": _OFT,
        "block_size": frozenset({"dylora"}),
        "wd_on_output": frozenset({"lora", "locon", "dora"}),
        "factor": frozenset({"lokr"}),
        "decompose_both": frozenset({"lokr"}),
        "full_matrix": frozenset({"lokr"}),
        "unbalanced_factorization": frozenset({"lokr"}),
    }
)
#: Why switches are refused.
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "use_scalar": "factors start at zero instead of being multiplied by a number that does",
        "train_norm": "norm layers are no targets of networks here",
        "rescaled": "ComfyUI leaves the row factors of diag-oft out: the file would mean something else there",
        "bypass_mode": "the change is always added to the output of the layer, whose weight stays as it is",
    }
)
#: The kinds of file that a run may start from.
_KINDS: Mapping[str, Kind] = MappingProxyType(
    {"diag-oft": "oft", "boft": "boft", "loha": "loha", "lokr": "lokr", "glora": "glora", "ia3": "ia3", "full": "full"}
)


def _dylora_findings(config: Config) -> Sequence[Finding]:
    """Return what DyLoRA says, in LyCORIS's words."""
    return [
        replace(found, option="block_size", message=_renamed(found.message), fix=_renamed(found.fix))
        if found.option == "unit"
        else found
        for found in dylora_findings(config)
    ]


def _weight_findings(config: Config) -> Sequence[Finding]:
    """Return what networks say whose change depends on the weight."""
    return [*lora_findings(config), *norm_findings(config)]


def _renamed(text: str) -> str:
    return text.replace("unit", "block_size")


_CHECKS: Mapping[str, Callable[[Config], Sequence[Finding]]] = MappingProxyType(
    {
        "dylora": _dylora_findings,
        "boft": _weight_findings,
        "diag-oft": _weight_findings,
        "glora": _weight_findings,
        "ia3": _weight_findings,
    }
)


def findings(config: Config) -> Sequence[Finding]:
    """Return everything that is wrong, unsupported or without effect."""
    lycoris = config[LycorisOptions]
    check = dora_findings if lycoris.decomposes else _CHECKS.get(lycoris.algo, lora_findings)
    own = lokr_findings(config) if lycoris.algo == "lokr" else []
    # DoRA and DyLoRA look at the file themselves.
    said = lycoris.decomposes or lycoris.algo == "dylora"
    files = [] if said else file_findings_of(_KINDS.get(lycoris.algo, "lora"), config)
    return [*_idle(config), *_refused(config), *check(translated(config)), *own, *files]


def _idle(config: Config) -> Iterator[Finding]:
    """Give the options that do nothing with this algorithm or preset."""
    lycoris = config[LycorisOptions]
    for name, algorithms in _MEANT_FOR.items():
        if config.given(name) and lycoris.algo not in algorithms:
            yield Finding("without effect", name, f"without effect with algo={lycoris.algo}")
    if config.given("wd_on_output") and not lycoris.decomposes and lycoris.algo in {"lora", "locon"}:
        yield Finding("without effect", "wd_on_output", "without effect without dora_wd")
    for name in ("conv_dim", "conv_alpha"):
        if config.given(name) and lycoris.preset == "attn-mlp":
            yield Finding("without effect", name, "without effect: the preset attn-mlp has no convolutions")


def _refused(config: Config) -> Iterator[Finding]:
    """Give the options that are not supported, with the reason."""
    lycoris, values = config[LycorisOptions], dict(config)
    for name, reason in _REFUSED.items():
        if values[name]:
            yield Finding("unsupported", name, f"{name} is not supported: {reason}", "leave it out")
    if lycoris.algo == "tlora":
        message = "T-LoRA is not supported: its ranks depend on the timestep, which adapters do not see"
        yield Finding("unsupported", "algo", message, "take lora")
    if lycoris.preset not in {"full", "attn-mlp"}:
        message = f"the preset '{lycoris.preset}' is not supported: presets name classes, architectures name targets"
        fix = "take full or attn-mlp; --network_train_unet_only and the architecture's own options choose layers"
        yield Finding("unsupported", "preset", message, fix)
    if lycoris.dora_wd and not lycoris.decomposes:
        message = f"dora_wd is not supported with algo={lycoris.algo}: magnitudes are trained with LoRA alone"
        yield Finding("unsupported", "dora_wd", message, "leave it out, or take algo=lora")
    if config.given("unit"):
        yield Finding("wrong", "unit", "LyCORIS calls it block_size", "write block_size")
