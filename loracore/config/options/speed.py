"""How a step is made faster without changing what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option

#: The field's choices; some are known only to be refused, one only as a misspelling.
Backend = Literal[
    "inductor",
    "eager",
    "aot_eager",
    "cudagraphs",
    "onnxrt",
    "tensorrt",
    "ipex",
    "tvm",
    "tensort",
    "aot_ts_nvfuser",
    "nvprims_nvfuser",
    "ofi",
    "fx2trt",
]


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """Compiled blocks, recorded steps, attention kernels, memory layout: rounding apart, results stay the same."""

    torch_compile: Annotated[
        bool, option("compile the repeated blocks of the models that train; falls back with one line", neutral=True)
    ] = False
    dynamo_backend: Annotated[Backend, option("what torch_compile compiles with", neutral=True)] = "inductor"
    cuda_graphs: Annotated[
        bool,
        option("record the denoiser's kernels once per bucket shape and replay them: for small batches", neutral=True),
    ] = False
    attention_backend: Annotated[
        Literal["auto", "flash", "mem_efficient", "cudnn"],
        option("attention kernel that is tried first on CUDA (auto: torch's own order)", neutral=True),
    ] = "auto"
    opt_channels_last: Annotated[
        bool, option("keep the denoiser's convolution weights in channels_last order", neutral=True)
    ] = False
