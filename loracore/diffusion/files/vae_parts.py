"""A VAE from a file or folder of its own: where it lies there, and whether its latents are the architecture's."""

from __future__ import annotations

from loracore.diffusion.files.folders import open_folder, read_config
from loracore.diffusion.files.loading import EmptyPart
from loracore.diffusion.files.parts import PartKind, Reading, folder_parts
from loracore.errors import DataError

_FIX = "give a VAE that was made for this architecture"


def lone_folder_part(kind: PartKind, given: str, reading: Reading) -> EmptyPart:
    """Return the empty VAE of a folder or a model on the hub, at its root or, as in whole models, in vae/.

    Raises DataError when it is at neither place, or is of another class.
    """
    path = f"{kind.folder}/config.json"
    for folder in (open_folder(given, alone=kind.folder), open_folder(given)):
        config = read_config(folder, path)
        if config is None:
            continue
        if (found := config.get("_class_name", "AutoencoderKL")) != "AutoencoderKL":
            raise DataError(f"this is a {found}, not an AutoencoderKL", where=f"--{kind.option} {given}", fix=_FIX)
        return folder_parts([kind], folder, reading)[kind.name]
    message = f"this is no VAE in the diffusers layout: there is neither config.json nor {path}"
    raise DataError(message, where=f"--{kind.option} {given}", fix="give a folder of a VAE, or a file")


def check_latents(kind: PartKind, part: EmptyPart, given: str) -> None:
    """Raise DataError for the VAE that was ``given`` when its latents are not those of the architecture's denoisers."""
    from diffusers import AutoencoderKL

    vae, standard, where = part.module, kind.standard(), f"--{kind.option} {given}"
    if not isinstance(vae, AutoencoderKL):
        message = "the VAE is not the one that its kind builds"
        raise TypeError(message)
    if vae.config.latent_channels != standard["latent_channels"]:
        message = f"this VAE has {vae.config.latent_channels} latent channels, not {standard['latent_channels']}"
        raise DataError(message, where=where, fix=_FIX)
    scaling = (vae.config.scaling_factor, vae.config.shift_factor or 0.0)
    if scaling != (own := (standard["scaling_factor"], standard.get("shift_factor") or 0.0)):
        message = (
            f"this VAE's latents are scaled by {scaling[0]} and shifted by {scaling[1]}, not by {own[0]} and {own[1]}"
        )
        raise DataError(message, where=where, fix=_FIX)
