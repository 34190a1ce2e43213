"""LyCORIS's own names for what is trained; all of them may stand in ``network_args`` too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from loracore import Config, NetworkOptions, option
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lora.options import DEFAULT_RANK, LoraOptions

Algorithm = Literal[
    "lora", "locon", "loha", "lokr", "diag-oft", "boft", "glora", "ia3", "full", "dylora", "dora", "tlora"
]


@dataclass(frozen=True, slots=True)
class LycorisOptions:
    """Which kind of network, on which layers."""

    algo: Annotated[Algorithm, option("kind of network", network_arg=True)] = "lora"
    preset: Annotated[
        str, option("full: convolutions too; attn-mlp: without them; there are no others", network_arg=True)
    ] = "full"
    constraint: Annotated[
        float, option("diag-oft, boft: largest norm of the blocks over the outputs; 0: none", ge=0, network_arg=True)
    ] = 0.0
    block_size: Annotated[int, option("dylora: ranks trained at a time", ge=1, network_arg=True)] = 4
    dora_wd: Annotated[bool, option("lora, locon: as DoRA, with trained magnitudes", network_arg=True)] = False
    use_cp: Annotated[bool, option("old name of use_tucker", network_arg=True)] = False
    use_conv_cp: Annotated[bool, option("old name of use_tucker", network_arg=True)] = False
    disable_conv_cp: Annotated[bool, option("old opposite of use_tucker", network_arg=True)] = True
    use_scalar: Annotated[bool, option("not supported: factors start at zero instead", network_arg=True)] = False
    train_norm: Annotated[bool, option("not supported: norm layers are no targets", network_arg=True)] = False
    rescaled: Annotated[bool, option("not supported: readers of files disagree on it", network_arg=True)] = False
    bypass_mode: Annotated[bool, option("not supported: it computes the same in another order", network_arg=True)] = (
        False
    )

    @property
    def decomposes(self) -> bool:
        """Whether this is a DoRA."""
        return self.algo == "dora" or (self.dora_wd and self.algo in {"lora", "locon"})


def translated(config: Config) -> Config:
    """Return the config as the other networks read it, with LyCORIS's defaults and old names.

    Convolutions take part, with the rank and alpha of everything else, unless the preset leaves them out.
    """
    lycoris, lora, network = config[LycorisOptions], config[LoraOptions], config[NetworkOptions]
    conv_dim = lora.conv_dim or network.network_dim or DEFAULT_RANK
    conv_alpha = lora.conv_alpha if config.given("conv_alpha") else network.network_alpha or 0.0
    old_tucker = lycoris.use_cp or lycoris.use_conv_cp or not lycoris.disable_conv_cp
    own = replace(
        lora,
        conv_dim=None if lycoris.preset == "attn-mlp" else conv_dim,
        conv_alpha=conv_alpha,
        use_tucker=lora.use_tucker or old_tucker,
    )
    return config.with_table(own).with_table(DyloraOptions(lycoris.block_size))
