"""The settings, and how far from the plain way each may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.loss_curves.apart import Apart
from benchmarks.peers.gate import MEAN, STEP


@dataclass(frozen=True, slots=True)
class Limits:
    """What must hold between a curve and the plain one."""

    step: float  # the largest difference of a step's losses, relative
    mean: float  # the difference of the mean losses, relative
    share: float  # the mean of the differences, of that between two seeds
    cosine: float | None  # between the ways that the adapters have gone; None: it is only told

    def hold(self, apart: Apart) -> bool:
        """Tell whether a curve is near enough; numbers that are none are not."""
        alike = self.cosine is None or apart.gate.gradient.cosine > self.cosine
        near = apart.gate.step < self.step and apart.gate.mean < self.mean
        return near and apart.share < self.share and alike


#: Of seed to seed: what noise and timesteps a step draws moves its loss far more than arithmetic does.
SHARE = 0.25
#: The same arithmetic in another order. A sum of 1,000 products in float32 is wrong by about √1,000 · 6e-8 = 2e-6, some
#: ten layers lie on top of each other, and AdamW adds up what is wrong in 200 steps: 1e-4 leaves room for these, and
#: for no mistake. The mean loss is of 200 such errors, of both signs.
EXACT = Limits(1e-4, 1e-5, SHARE, 0.9999)
#: Other numbers: frozen weights, or all of the arithmetic, in fewer bits. The gate of comparisons with other trainers.
ROUNDED = Limits(STEP, MEAN, SHARE, None)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is switched on, and what must come of it."""

    name: str
    limits: Limits
    words: tuple[str, ...] = ()
    precision: str = "no"  # mixed_precision: float32
    says: str = ""  # what the run's output holds when the setting has taken effect

    @property
    def option(self) -> str | None:
        """The option that is tried: a note says where it is without effect."""
        return self.words[0].removeprefix("--") if self.words else None


def settings(device: str) -> Iterator[Setting]:
    """Give every setting that a device has."""
    compiled = Setting("torch_compile", EXACT, ("--torch_compile",), says=" graphs for ")
    yield Setting("grouped (the default)", EXACT)
    yield Setting("gradient_checkpointing", EXACT, ("--gradient_checkpointing",))
    yield Setting("cpu_offload_checkpointing", EXACT, ("--cpu_offload_checkpointing", "--gradient_checkpointing"))
    yield Setting("checkpointed_blocks 0 2", EXACT, ("--checkpointed_blocks", "0", "2"))
    yield Setting("blocks_to_swap 2", EXACT, ("--blocks_to_swap", "2"))
    yield Setting("opt_channels_last", EXACT, ("--opt_channels_last",))
    if device == "cuda":
        recorded = Setting("cuda_graphs", EXACT, ("--cuda_graphs",), says="cuda_graphs: recorded for")
        yield recorded
        for one in (compiled, recorded):
            yield replace(one, name=f"{one.name} bf16", limits=ROUNDED, precision="bf16")
    yield Setting("mixed_precision bf16", ROUNDED, (), "bf16")
    yield Setting("full_bf16", ROUNDED, ("--full_bf16",), "bf16")
    yield Setting("fp8_base_unet", ROUNDED, ("--fp8_base_unet",))
    for form in ("fp8_scaled", "int8", "nf4"):
        yield Setting(form, ROUNDED, ("--base_model_precision", form), says=f"stored as {form}")
    yield compiled  # last: it may take minutes
