"""The stages of a training step as frozen types: Examples → Batch → NoisyBatch → Prediction.

Letters in shapes: B samples, C latent channels, h,w latent height and width, H,W picture height and width, T tokens.
This module imports nothing of ours, and torch only for type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

#: What the core asks an architecture to load: "text" (every text encoder), one text encoder by its name in
#: ``Models.text`` ("te3"), "vae", "denoiser". A run holds only the parts that its phase needs.
Part = str
#: The denoiser's name in ``Models.modules``, ``Models.blocks``, ``LoraTarget.part`` and files, whatever kind it is.
DENOISER = "unet"


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on the device; from the host to a card without waiting for what the card still has to do.

    From memory that may be paged out a copy would wait: it is copied into pinned memory first.
    """
    if tensor.device.type == "cpu" and str(device).startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True, slots=True)
class Framing:
    """How one picture was brought to its training size; every size is (width, height) in pixels."""

    original: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int]  # left, top of the cut inside `resized`, before any flip
    size: tuple[int, int]  # the bucket: what is trained
    flipped: bool = False  # mirrored left to right, after the cut


@dataclass(frozen=True, eq=False, slots=True)
class Latents:
    """The VAE's answer for some pictures, already scaled for the denoiser: a distribution, not a draw."""

    mean: Tensor  # B,C,h,w
    log_variance: Tensor  # B,C,h,w

    def to(self, device: torch.device | str) -> Latents:
        """Return the same on a device."""
        return Latents(sent(self.mean, device), sent(self.log_variance, device))


@dataclass(frozen=True, eq=False, slots=True)
class TextConditioning:
    """What the text encoders say of some captions: tensors named by the architecture, each with B in front."""

    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def to(self, device: torch.device | str) -> TextConditioning:
        """Return the same on a device."""
        return TextConditioning({name: sent(tensor, device) for name, tensor in self.tensors.items()})

    def rows(self, start: int, stop: int) -> TextConditioning:
        """Return the samples ``start`` to ``stop``."""
        return TextConditioning({name: tensor[start:stop] for name, tensor in self.tensors.items()})


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """One micro-batch as the loader hands it over; every picture has the same size."""

    ids: tuple[str, ...]  # one name a sample, stable between runs (the picture's path)
    epoch: int  # 0-based
    positions: tuple[int, ...]  # place of each sample in the epoch's global order; randomness is drawn from it
    captions: tuple[str, ...]  # as the text encoders read them in this visit
    framings: tuple[Framing, ...]
    loss_weights: tuple[float, ...]
    images: Tensor | None = None  # B,3,H,W in [-1, 1]; None when latents come from the cache
    latents: Latents | None = None  # from the cache
    conditioning: TextConditioning | None = None  # from the cache: of the text encoders that do not train
    masks: Tensor | None = None  # B,1,H,W or B,1,h,w in [0, 1]: what counts in the loss; None: everything
    network_multiplier: float = 1.0  # of the adapters; the same for the whole micro-batch
    attributes: tuple[Mapping[str, Any], ...] = ()  # the subsets' custom_attributes, one for each sample


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """A micro-batch ready for noise: latents drawn, captions encoded."""

    ids: tuple[str, ...]
    captions: tuple[str, ...]
    framings: tuple[Framing, ...]
    latents: Tensor  # B,C,h,w, scaled, float32
    conditioning: TextConditioning
    loss_weights: Tensor  # B
    masks: Tensor | None = None  # B,1,h,w in [0, 1]: what counts in the loss; None: everything
    attributes: tuple[Mapping[str, Any], ...] = ()  # the subsets' custom_attributes, one for each sample

    def to(self, device: torch.device | str) -> Batch:
        """Return the same on a device."""
        return replace(
            self,
            latents=sent(self.latents, device),
            conditioning=self.conditioning.to(device),
            loss_weights=sent(self.loss_weights, device),
            masks=None if self.masks is None else sent(self.masks, device),
        )


@dataclass(frozen=True, eq=False, slots=True)
class NoisyBatch:
    """A batch with noise on it, as the denoiser sees it."""

    batch: Batch
    noise: Tensor  # B,C,h,w
    noisy_latents: Tensor  # B,C,h,w
    timesteps: Tensor  # B, on the architecture's own scale
    sigma: Tensor  # B, noise level: noise's share against the picture, for logging and weighting

    def to(self, device: torch.device | str) -> NoisyBatch:
        """Return the same on a device."""
        return NoisyBatch(
            self.batch.to(device),
            sent(self.noise, device),
            sent(self.noisy_latents, device),
            sent(self.timesteps, device),
            sent(self.sigma, device),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """What the denoiser said and what it should have said; the loss compares the two in float32."""

    output: Tensor  # B,C,h,w
    target: Tensor  # B,C,h,w


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a picture is drawn; None leaves it to the architecture's own way."""

    size: tuple[int, int]  # width, height in pixels
    steps: int | None = None
    scale: float | None = None  # of the guidance
    sampler: str | None = None  # the field's name: "ddim", "euler_a", …
    shift: float | None = None  # of a flow model's noise levels, towards noise


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has become known of a run, in plain numbers and texts: what consoles, logs and reports show."""

    kind: str  # "step", "epoch", "skipped", "validation", "saved", "preview", "note", "finished", …
    step: int  # the optimizer step that it is about, from 1; 0: before the first
    values: Mapping[str, Any]  # whatever JSON can hold


@dataclass(frozen=True, eq=False, slots=True)
class Models:
    """The loaded parts of a base model; a part that was not asked for is absent.

    ``text`` is keyed by the part's name in LoRA files ("te1", "te2", …), in that order. ``blocks`` lists the blocks of
    a part ("unet", "te1", …) in execution order, so that checkpointing, swapping and compiling them is the core's
    work, once for every architecture. ``extras`` holds what has no weights: tokenizers, schedulers. ``placed`` names
    parts that an option put on a device of their own; the core leaves them there. ``block_groups`` names the
    denoiser's blocks as ``LoraTarget.block`` does, in the order of the block-wise options, by the group that learning
    rates are given for ("down", "mid", "up"); "" is of no such group. Left empty, the blocks are those of the targets.
    ``together`` lists layers that the denoiser calls with the same inputs through `loracore.networks.grouped.project`.
    """

    text: Mapping[str, nn.Module] = field(default_factory=dict)
    vae: nn.Module | None = None
    denoiser: nn.Module | None = None
    blocks: Mapping[str, Sequence[nn.Module]] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    placed: frozenset[str] = frozenset()
    block_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    together: Sequence[Sequence[nn.Module]] = ()

    def modules(self) -> Mapping[str, nn.Module]:
        """Return every loaded module by part: "te1", …, "vae", "unet"."""
        found = dict(self.text)
        if self.vae is not None:
            found["vae"] = self.vae
        if self.denoiser is not None:
            found[DENOISER] = self.denoiser
        return found


@dataclass(frozen=True, eq=False, slots=True)
class LoraTarget:
    """One place where a network may put an adapter: which layers, and what they are called in the file.

    Several ``layers`` share one adapter (projections that the file keeps fused): their outputs, in this order, are the
    rows of the fused layer. ``separate`` asks for independent factors for each of them, which the file then holds as
    one block-diagonal pair. ``rank``, ``alpha`` and ``lr`` are the architecture's own choice for this place (a rank of
    0 leaves it out); None leaves them to the network and the run.
    """

    key: str  # in the file, without the tensor's name: "lora_unet_input_blocks_4_1_proj_in"
    layers: tuple[nn.Linear | nn.Conv2d, ...]  # on any device
    paths: tuple[str, ...]  # the layers' names in their model, for people to read
    part: str  # "unet", "te1", "te2", …
    block: str | None = None  # the block of the denoiser that options for single blocks count it to
    rank: int | None = None
    alpha: float | None = None
    lr: float | None = None
    group: str | None = None  # name of its parameter group ("unet_block5"); None: that of its part
    needs_conv: bool = False  # stands among convolutions: taken only by a network that adapts convolutions
    expected_unused: bool = False  # its output is never used, so that it never gets a gradient
    separate: bool = False  # several layers, each with factors of its own
    swapped_halves: bool = False  # the file holds the second half of the layer's output rows first


@dataclass(frozen=True, eq=False, slots=True)
class DemoKit:
    """Everything that `loracore demo` needs: a tiny model, pictures, options, prompts, and what to measure."""

    options: Mapping[str, Any]  # as in a configuration file
    pictures: tuple[Path, ...]  # training pictures of the concept, for the contact sheet
    prompts: tuple[str, ...]  # ask for the concept
    ordinary_prompts: tuple[str, ...]  # ask for things that the base model knows
    size: tuple[int, int]  # of samples
    columns: int  # of the contact sheet: how many samples of each kind are shown
    #: {"concept": pictures, "ordinary": pictures} → what they are worth, by name
    measure: Callable[[Mapping[str, Sequence[Image]]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class LatentsFile:
    """How the field lays out its ``.npz`` files of encoded pictures.

    Such a file is named ``<stem>_<width>x<height>`` for its picture, with ``suffix`` behind it. What it holds is one
    draw of the VAE, unscaled: a latent is (stored - shift) * scale.
    """

    suffix: str
    channels: int
    pixels: int  # of a picture to one latent, on each side
    scale: float
    shift: float = 0.0
    sized_keys: bool = False  # arrays are named for the latents' height and width too: one file, several resolutions


@dataclass(frozen=True, slots=True)
class TextFile:
    """How the field lays out its ``.npz`` files of encoded captions, each named ``<stem>`` and ``suffix``."""

    suffix: str
    #: Array → how many of its columns belong to which tensors of our conditioning, side by side. A tensor that several
    #: arrays have columns of is these, side by side in the order of the arrays.
    columns: Mapping[str, Mapping[str, int]]
    lengths: Mapping[str, int]  # tokens by array; an array without has no axis of tokens
    #: Who said what it holds → the width of its token embeddings. Of no use where others, not all of them, or models of
    #: another width are cached.
    encoders: Mapping[Part, int]
    flags: Mapping[str, bool] = field(default_factory=dict)  # what scalar arrays must say, by option
    recorded: Collection[str] = ()  # options that ``lengths`` tell; others that change text rule such files out
    writable: bool = True  # False: such a file holds more than our conditioning does


@dataclass(frozen=True, slots=True)
class FieldFiles:
    """The field's ``.npz`` files that stand beside pictures, of one architecture."""

    latents: LatentsFile
    text: TextFile
