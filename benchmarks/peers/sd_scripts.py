"""The process of sd-scripts: its own training script, run from a checkout, with the work's draws.

``python -m benchmarks.peers.sd_scripts CHECKOUT WORK WORDS…``, in an environment that has what sd-scripts needs, and no
loracore. WORK is a JSON file: paths of "draws" and "record", "script", "order" (stems of pictures), "small" (is the
denoiser?). What is replaced, and nothing else: text encoders and VAE, which are never run, the order of the pictures,
the random numbers of a step, and torchvision where it is missing (it turns pictures into tensors, and here latents are
cached). SDXL's U-Net, whose sizes are written in sd-scripts' code, is read from the same file with smaller ones. The
second attention of SD3.5 medium is cut into heads of 64 features, as the model was trained: sd-scripts cuts it into
heads of as many features as there should be heads, which is other mathematics.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers.recording import Recording

_UNET = "model.diffusion_model."
_SMALL_WIDTH, _HEAD_WIDTH = 64, 64


def main(checkout: Path, work: dict[str, Any], words: list[str]) -> None:
    """Train by these words, and write what was noted."""
    sys.path.insert(0, str(checkout))
    if find_spec("torchvision") is None:
        _stand_in_for_torchvision()
    recording, draws = Recording(cuda=torch.cuda.is_available()), Draws(load_file(work["draws"]))
    if work["script"].startswith("sdxl"):
        _load_sdxl(small=work["small"])
        _draw_for_ddpm(draws)
    else:
        _load_sd3()
        _draw_for_flow(draws)
    _keep_the_order(work["order"])
    _watch(recording)
    sys.argv = [work["script"], *words]
    runpy.run_path(str(checkout / work["script"]), run_name="__main__")
    recording.write(Path(work["record"]))


class Draws:
    """The work's noise and timesteps, step by step."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.host_timesteps = stored["timesteps"]  # steps,B; sd-scripts draws them on the host
        self.device_noise = stored["noise"]  # steps,B,C,h,w
        self.step = -1

    def next_step(self, device: torch.device) -> None:
        """Go on; from the first step on all noise is on the device, as on the other side."""
        self.step += 1
        if self.step == 0:
            self.device_noise = self.device_noise.to(device)

    def timesteps(self) -> Tensor:
        """Return the step's timesteps (B), on the host."""
        return self.host_timesteps[self.step]

    def noise(self, *_: object, **__: object) -> Tensor:
        """Return the step's noise (B,C,h,w), whatever is asked for."""
        return self.device_noise[self.step]


def _stand_in_for_torchvision() -> None:
    """Offer the names that are called while sd-scripts is imported."""

    def nothing(*_: object) -> None:
        """Stand for a step of a transform that no cached latent passes through."""

    package, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    for module in (package, transforms):
        module.__spec__ = ModuleSpec(module.__name__, None)  # other libraries ask whether there is one
        sys.modules[module.__name__] = module
    vars(package)["transforms"] = transforms
    vars(transforms).update(Compose=nothing, ToTensor=nothing, Normalize=nothing)


def _load_sdxl(*, small: bool) -> None:
    """Have the U-Net alone read from the work's checkpoint; a small one is sd-scripts' own with smaller numbers."""
    unets: Any = importlib.import_module("library.sdxl_original_unet")
    loading: Any = importlib.import_module("library.sdxl_train_util")
    if small:
        unets.MODEL_CHANNELS, unets.TIME_EMBED_DIM = _SMALL_WIDTH, 4 * _SMALL_WIDTH
        whole = unets.Transformer2DModel.__init__

        def one_block(self: nn.Module, **sizes: Any) -> None:
            whole(self, **{**sizes, "num_transformer_layers": 1})

        unets.Transformer2DModel.__init__ = one_block

    def load(args: Any, *_: object) -> tuple[object, ...]:
        with torch.device("meta"):
            unet = unets.SdxlUNet2DConditionModel()
        tensors = load_file(args.pretrained_model_name_or_path)
        own = {name.removeprefix(_UNET): tensor for name, tensor in tensors.items() if name.startswith(_UNET)}
        unet.load_state_dict(own, assign=True)
        return True, _idle_encoder(), _idle_encoder(), _idle_vae(), unet, None, None

    loading.load_target_model = load


def _load_sd3() -> None:
    """Have the transformer read as ever, and nothing else; all its heads have 64 features."""
    loading: Any = importlib.import_module("library.sd3_utils")
    models: Any = importlib.import_module("library.sd3_models")
    whole: Callable[..., Tensor] = models.attention

    def right_heads(q: Tensor, k: Tensor, v: Tensor, head_dim: int, **more: Any) -> Tensor:
        _ = head_dim  # of the second attention the number of heads is given here
        return whole(q, k, v, _HEAD_WIDTH, **more)

    models.attention = right_heads
    for name in ("load_clip_l", "load_clip_g", "load_t5xxl"):
        setattr(loading, name, _idle_encoder)
    loading.load_vae = _idle_vae


def _idle_encoder(*_: object, **__: object) -> nn.Module:
    """Return a text encoder that is moved about and never run."""
    transformers: Any = importlib.import_module("transformers")
    sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    encoder: nn.Module = transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes, num_hidden_layers=1))
    return encoder


def _idle_vae(*_: object, **__: object) -> nn.Module:
    """Return a VAE that is moved about and never run."""
    diffusers: Any = importlib.import_module("diffusers")
    vae: nn.Module = diffusers.AutoencoderKL(block_out_channels=(32,), layers_per_block=1)
    return vae


def _draw_for_ddpm(draws: Draws) -> None:
    """Have every step draw the work's noise and timesteps; what is made of them stays sd-scripts' own."""
    training: Any = importlib.import_module("library.train_util")
    whole = training.get_noise_noisy_latents_and_timesteps
    training.get_timesteps = lambda _low, _high, _count, device: draws.timesteps().to(device)

    def drawn(args: Any, scheduler: Any, latents: Tensor) -> Any:
        draws.next_step(latents.device)
        with patch.object(torch, "randn_like", draws.noise):
            return whole(args, scheduler, latents)

    training.get_noise_noisy_latents_and_timesteps = drawn


def _draw_for_flow(draws: Draws) -> None:
    """Do the same for a flow model, which makes timesteps of uniform numbers, and noise before them."""
    flow: Any = importlib.import_module("library.sd3_train_utils")
    whole: Callable[..., Any] = flow.get_noisy_model_input_and_timesteps

    def uniform(**_: object) -> Tensor:
        return (draws.timesteps() + 0.5) / 1000  # half a step above, which is cut off again

    def drawn(args: Any, latents: Tensor, _: Tensor, *rest: Any) -> Any:
        draws.next_step(latents.device)
        return whole(args, latents, draws.noise(), *rest)

    flow.compute_density_for_timestep_sampling = uniform
    flow.get_noisy_model_input_and_timesteps = drawn


def _keep_the_order(stems: list[str]) -> None:
    """Have the pictures come in this order, batch behind batch."""
    training: Any = importlib.import_module("library.train_util")

    def ordered(dataset: Any) -> None:
        (bucket,) = dataset.bucket_manager.buckets
        keys = {Path(key).stem: key for key in bucket}
        bucket[: len(stems)] = [keys[stem] for stem in stems]

    def straight(sampler: Any) -> Iterator[int]:
        return iter(range(len(sampler.data_source)))

    training.BaseDataset.shuffle_buckets = ordered
    shuffling: Any = torch.utils.data.RandomSampler
    shuffling.__iter__ = straight


def _watch(recording: Recording) -> None:
    """Note moment and loss where sd-scripts has just read the loss, at the end of its step."""
    training: Any = importlib.import_module("library.train_util")
    whole = training.LossRecorder.add

    def add(recorder: Any, *, epoch: int, step: int, loss: float) -> None:
        recording.step_done()
        recording.losses.append(loss)
        whole(recorder, epoch=epoch, step=step, loss=loss)

    training.LossRecorder.add = add


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), sys.argv[3:])
