"""What contradicts each other among the options of speed, or is without effect."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, ModelOptions
from loracore.config.config import Config
from loracore.config.options import MemoryOptions, SpeedOptions, TrainingOptions

#: Choices of the field that torch had once.
_GONE = frozenset({"aot_ts_nvfuser", "nvprims_nvfuser", "ofi", "fx2trt"})


def speed_findings(config: Config) -> Iterator[Finding]:
    """Give the findings."""
    options, model = config[SpeedOptions], config[ModelOptions]
    yield from _backend(config)
    if model.blocks_to_swap:
        for name, wanted in (("cuda_graphs", options.cuda_graphs), ("opt_channels_last", options.opt_channels_last)):
            if wanted:
                message = f"{name} with blocks_to_swap: the weights of blocks that swap have no place of their own"
                yield Finding("wrong", name, message, f"leave out {name}, or blocks_to_swap")
    if options.opt_channels_last and config[MemoryOptions].memory == "auto":
        message = (
            "opt_channels_last with memory auto, which may ask for blocks_to_swap: those weights have no own place"
        )
        yield Finding("wrong", "opt_channels_last", message, "leave out one of the two")
    if options.cuda_graphs:
        yield from _recorded(config)


def _backend(config: Config) -> Iterator[Finding]:
    options = config[SpeedOptions]
    if options.dynamo_backend in _GONE:
        message = f"dynamo_backend {options.dynamo_backend} is not supported: torch has it no longer"
        yield Finding("unsupported", "dynamo_backend", message, "leave it out: inductor is torch's own")
    elif config.given("dynamo_backend") and not options.torch_compile:
        yield Finding("without effect", "dynamo_backend", "without effect: torch_compile is off")
    elif options.dynamo_backend == "tensort":
        yield Finding("without effect", "dynamo_backend", "tensort is a misspelling: taken as tensorrt")


def _recorded(config: Config) -> Iterator[Finding]:
    """Give what a recorded step cannot have."""
    model = config[ModelOptions]
    for name, given in (
        ("gradient_checkpointing", model.gradient_checkpointing),
        ("checkpointed_blocks", bool(model.checkpointed_blocks)),
        ("memory auto", config[MemoryOptions].memory == "auto"),  # which may ask for it
    ):
        if given:
            message = f"cuda_graphs with {name}: what is computed again in the backward pass cannot be recorded"
            fix = f"leave out cuda_graphs, which gains little on a full card, or {name}"
            yield Finding("wrong", "cuda_graphs", message, fix)
    if config[TrainingOptions].fused_backward_pass:
        message = (
            "cuda_graphs with fused_backward_pass: a recording gives all gradients at once, which spares no memory"
        )
        yield Finding("wrong", "cuda_graphs", message, "leave out one of the two")
    if config[SpeedOptions].torch_compile and config[SpeedOptions].dynamo_backend == "cudagraphs":
        message = "cuda_graphs with dynamo_backend cudagraphs: a recording cannot hold other recordings"
        yield Finding("wrong", "cuda_graphs", message, "leave out one of the two")
