"""The field's samplers for models with DDPM noise, as diffusers' schedulers of this model's noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from loracore.config.config import Config
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.noise import ddpm

#: What a sampler is called → diffusers' class, and what it is told beside the noise schedule.
_SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # Latents are not pictures in [-1, 1]: clipped there (as the field does) they lose contrast.
        "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
        "lms": ("LMSDiscreteScheduler", {}),
        "euler": ("EulerDiscreteScheduler", {}),
        "euler_a": ("EulerAncestralDiscreteScheduler", {}),
        "heun": ("HeunDiscreteScheduler", {}),
        "dpm_2": ("KDPM2DiscreteScheduler", {}),
        "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
        # The solver that goes by noise cannot go down to a noise of zero.
        "dpmsolver": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
        "dpmsolver++": ("DPMSolverMultistepScheduler", {}),
        "dpmsingle": ("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
    }
)
#: Which timesteps are taken: those that latent diffusion takes, or such that the first is the very last of training.
#: Those of latent diffusion lie one higher than a multiple of the stride, and of (nearly) all timesteps the first would
#: be the one behind the last.
_BY_EQUAL_STRIDES: Mapping[str, Any] = MappingProxyType({"timestep_spacing": "leading", "steps_offset": 1})
_FROM_THE_END: Mapping[str, Any] = MappingProxyType({"timestep_spacing": "trailing"})
_MOST_STRIDES = ddpm.STEPS - 2  # some schedulers count a stride more than they take
#: Has no choice of timesteps: from the very last to the first, always.
_OWN_SPACING = frozenset({"DPMSolverSinglestepScheduler"})
#: Share of the picture at the last step of a schedule that leaves none of it: solvers divide by it. Of the smallest
#: numbers of half precision, as diffusers has it.
_LEAST_SHARE = 2**-24


def ddpm_scheduler(sampler: str, config: Config, steps: int) -> Any:
    """Return diffusers' scheduler, which is untyped, for a sampler's name as the field writes it.

    It knows what the model predicts, and is for drawing in 1 to 1000 ``steps``. With ``zero_terminal_snr`` it starts at
    the very last step, with the rescaled noise schedule. Raises ValueError for names that nobody knows, ImportError for
    "lms" without scipy.
    """
    options, name = config[DdpmOptions], sampler.removeprefix("k_")
    if name not in _SAMPLERS:
        message = f"'{sampler}' is no sampler"
        raise ValueError(message)
    kind, own = _SAMPLERS[name]
    from_the_end = options.zero_terminal_snr or steps > _MOST_STRIDES
    spacing = _FROM_THE_END if from_the_end else _BY_EQUAL_STRIDES
    with quiet_libraries(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`algorithm_types", category=FutureWarning)  # "dpmsolver"
        warnings.filterwarnings("ignore", message="__array", category=DeprecationWarning)  # as in `drawing.draw`
        import diffusers

        scheduler: Any = getattr(diffusers, kind)
        return scheduler(
            num_train_timesteps=ddpm.STEPS,
            trained_betas=_betas(zero_terminal_snr=options.zero_terminal_snr),
            prediction_type="v_prediction" if options.v_parameterization else "epsilon",
            **own,
            **({} if kind in _OWN_SPACING else spacing),
        )


def _betas(*, zero_terminal_snr: bool) -> list[float]:
    if not zero_terminal_snr:
        return ddpm.scaled_linear_betas().tolist()
    shares = ddpm.picture_shares(zero_terminal_snr=True)
    shares[-1] = _LEAST_SHARE
    kept = torch.cat([shares[:1], shares[1:] / shares[:-1]])
    return (1 - kept).tolist()
