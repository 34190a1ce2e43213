"""The process of sd-scripts: its own training script, run from a checkout, with the work's draws.

``python -m benchmarks.peers.sd_scripts WORK WORDS…``, in an environment that has what sd-scripts needs, and no
loracore. WORK is a JSON file: paths of "checkout", "draws" and "record", "script", "order" (stems of pictures), "small"
(what is smaller in the denoiser, by diffusers' names). What is replaced, and nothing else: text encoders and VAE, never
run, the order of the pictures, the random numbers of a step, and torchvision where it is missing (it turns pictures
into tensors, and here latents are cached). SDXL's U-Net, whose sizes are written in sd-scripts' code, is read from the
same file with smaller ones. The second attention of SD3.5 medium is cut into heads of 64 features, as the model was
trained: sd-scripts cuts it into heads of as many features as there should be heads, which is other mathematics.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers.draws import Draws
from benchmarks.peers.recording import Recording
from benchmarks.peers.torchvision_names import stand_in_for_torchvision

_UNET = "model.diffusion_model."
_HEAD_WIDTH = 64


def main(work: dict[str, Any], words: list[str]) -> None:
    """Train by these words, and write what was noted."""
    sys.path.insert(0, work["checkout"])
    if find_spec("torchvision") is None:  # called while sd-scripts is imported; no cached latent passes through
        stand_in_for_torchvision(dict.fromkeys(("Compose", "ToTensor", "Normalize"), _nothing))
    recording, draws = Recording(cuda=torch.cuda.is_available()), Draws(load_file(work["draws"]))
    if work["script"].startswith("sdxl"):
        _load_sdxl(work["small"])
        _draw_for_ddpm(draws)
    else:
        _load_sd3()
        _draw_for_flow(draws)
    _keep_the_order(work["order"])
    _watch(recording)
    sys.argv = [work["script"], *words]
    runpy.run_path(str(Path(work["checkout"], work["script"])), run_name="__main__")
    recording.write(Path(work["record"]))


def _nothing(*_: object) -> None:
    """Stand for a step of a transform."""


def _load_sdxl(small: dict[str, Any] | None) -> None:
    """Have the U-Net alone read from the work's checkpoint; a small one is sd-scripts' own with smaller numbers."""
    unets: Any = importlib.import_module("library.sdxl_original_unet")
    loading: Any = importlib.import_module("library.sdxl_train_util")
    if small:
        width = small["block_out_channels"][0]
        unets.MODEL_CHANNELS, unets.TIME_EMBED_DIM = width, 4 * width
        whole, fewer = unets.Transformer2DModel.__init__, "transformer_layers_per_block" in small

        def sized(self: nn.Module, **sizes: Any) -> None:
            whole(self, **{**sizes, **({"num_transformer_layers": 1} if fewer else {})})

        unets.Transformer2DModel.__init__ = sized

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
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:])
