"""Run the whole recipe of one demo model, or some of its stages."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from make_demo.architecture import Architecture
from make_demo.recipe import STAGES, Recipe
from make_demo.sd3.architecture import sd3
from make_demo.sdxl.architecture import sdxl

ROOT = Path(__file__).parents[1]


def architectures() -> dict[str, Architecture]:
    """Give the architectures whose demo models are made here, by name."""
    return {"sdxl": sdxl(ROOT / "plugins"), "sd3": sd3(ROOT / "plugins")}


def main() -> None:
    """Read the command line and run the stages asked for, in their order."""
    known = architectures()
    settings = _settings(known)
    torch.set_num_threads(1)  # small channels do not gain from more, and several trainings may run side by side
    stages: Sequence[str] = settings.pop("only")
    architecture = known[settings.pop("architecture")]
    for name in ("vae_minutes", "base_minutes", "decoder_minutes"):
        settings[name] = getattr(architecture, name) if settings[name] is None else settings[name]
    settings["model"] = settings["model"] or architecture.package / "demo_model"
    recipe = Recipe(architecture, **settings)
    recipe.work.mkdir(parents=True, exist_ok=True)
    for stage in filter(stages.__contains__, STAGES):
        getattr(recipe, stage)()


def _settings(known: Iterable[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m make_demo", description="Make an embedded demo model.")
    parser.add_argument("architecture", choices=tuple(known))
    parser.add_argument(
        "work", type=Path, help="folder for checkpoints; a stage that was interrupted goes on from there"
    )
    parser.add_argument("--model", type=Path, help="the diffusers folder to write; without it the plugin's own")
    pictures = ROOT / "loracore" / "testing" / "demo_pictures"
    parser.add_argument("--pictures", type=Path, default=pictures, help="the picture folder to write")
    parser.add_argument("--seed", type=int, default=1, help="of weights, pictures, captions and noise")
    parser.add_argument("--vae_minutes", type=float, help="on one thread of a server's processor")
    parser.add_argument("--base_minutes", type=float)
    parser.add_argument("--decoder_minutes", type=float)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="stages to run")
    return vars(parser.parse_args())


if __name__ == "__main__":
    main()
