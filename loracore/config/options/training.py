"""How long and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.limits import LARGEST_COUNT, MOST_STEPS
from loracore.config.options.courses import KNOWN_COURSE
from loracore.config.options.declaring import option
from loracore.config.options.durations import PART_OF_RUN


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How long and how it is trained."""

    max_train_steps: Annotated[int, option("optimizer steps", ge=1, le=MOST_STEPS)] = 1600
    max_train_epochs: Annotated[int | None, option("epochs; wins over max_train_steps", ge=1, le=MOST_STEPS)] = None
    gradient_accumulation_steps: Annotated[
        int, option("batches that make one optimizer step", ge=1, le=LARGEST_COUNT)
    ] = 1
    learning_rate: Annotated[float, option("learning rate", ge=0)] = 2e-6
    unet_lr: Annotated[float | None, option("learning rate of the denoiser's adapters", ge=0)] = None
    text_encoder_lr: Annotated[
        tuple[float, ...], option("learning rates of the text encoders' adapters: one for all, or one each")
    ] = ()
    optimizer_type: Annotated[
        str, option("optimizer: a name of the table in docs/optimizers.md, or the class of an installed package")
    ] = "AdamW"
    use_8bit_adam: Annotated[bool, option("old spelling of optimizer_type AdamW8bit")] = False
    use_lion_optimizer: Annotated[bool, option("old spelling of optimizer_type Lion")] = False
    optimizer_args: Annotated[tuple[str, ...], option("further arguments of the optimizer, key=value")] = ()
    lr_scheduler: Annotated[
        Literal[
            "constant",
            "constant_with_warmup",
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
            "inverse_sqrt",
            "cosine_with_min_lr",
            "warmup_stable_decay",
            "piecewise_constant",
        ],
        option("course of the learning rate"),
        KNOWN_COURSE,
    ] = "constant"
    lr_scheduler_type: Annotated[
        str | None, option("course of the learning rate: a class of an installed package; wins over lr_scheduler")
    ] = None
    lr_scheduler_args: Annotated[tuple[str, ...], option("further arguments of the course, key=value")] = ()
    lr_warmup_steps: Annotated[
        int | float,
        option("steps of rising learning rate; below 1, or as 10%, a share of all steps", ge=0, le=MOST_STEPS),
        PART_OF_RUN,
    ] = 0
    lr_decay_steps: Annotated[
        int | float,
        option("steps of falling learning rate; below 1, or as 10%, a share of all steps", ge=0, le=MOST_STEPS),
        PART_OF_RUN,
    ] = 0
    lr_scheduler_num_cycles: Annotated[int, option("periods of courses with restarts", ge=1, le=MOST_STEPS)] = 1
    lr_scheduler_power: Annotated[float, option("power of the polynomial course", ge=0)] = 1.0
    lr_scheduler_timescale: Annotated[
        int | None, option("time scale of inverse_sqrt, in steps (unset: the warm-up)", ge=1, le=MOST_STEPS)
    ] = None
    lr_scheduler_min_lr_ratio: Annotated[
        float | None, option("smallest learning rate, as a share of the largest", ge=0, le=1)
    ] = None
    fused_backward_pass: Annotated[
        bool, option("each gradient is used and freed as soon as it is there: less memory; Adafactor only")
    ] = False
    max_grad_norm: Annotated[float, option("gradients are scaled down to this norm; 0: never", ge=0)] = 1.0
    min_timestep: Annotated[int, option("smallest timestep that is trained", ge=0, le=999)] = 0
    max_timestep: Annotated[int, option("timesteps below this are trained", ge=1, le=1000)] = 1000
    use_ema: Annotated[
        bool, option("keep a moving average of the adapters; saved, validated and shown in the place of the last step")
    ] = False
    ema_decay: Annotated[float, option("share of the moving average that stays at each step", gt=0, lt=1)] = 0.999
    max_skipped_steps: Annotated[
        int,
        option("the run stops after so many steps in a row whose loss or gradient is not finite", ge=1, neutral=True),
    ] = 20
    initial_step: Annotated[
        int | None, option("begin behind this step: data and learning rate as in a run that took it", ge=0)
    ] = None
    initial_epoch: Annotated[
        int | None, option("begin with this epoch (from 1): as initial_step at the end of the one before", ge=1)
    ] = None
    skip_until_initial_step: Annotated[bool, option("without effect: the data always begin where the run does")] = False
    seed: Annotated[int | None, option("seed of everything random (unset: drawn, and written down)", ge=0)] = None
