"""The sides: for each trainer what starts its process, by which words it trains, and what is adapted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.peers.architectures import Architecture, attention_alone
from benchmarks.peers.diffusers_folder import layer_names, model_folder, picture_folder, write_diffusers_folder
from benchmarks.peers.work import Work

_UNCLIPPED = 1e9  # a norm that no gradient has: torch would make zeros of a norm of 0


@dataclass(frozen=True, slots=True)
class Side:
    """What is of one trainer alone."""

    name: str
    module: str  # of its process
    #: Its entry points in a checkout, by our plugin's name; it is not driven for architectures that are missing.
    scripts: Mapping[str, str]
    words: Callable[[Work, Path], Iterable[str]]  # options of a run whose result goes to a folder
    told: Callable[[Work, Path], Mapping[str, Any]]  # what its process has to know besides
    prepare: Callable[[Work], None]  # writes what it alone reads
    adapted: Callable[[Architecture], Architecture]  # limited to the layers that it can adapt


def ours() -> Side:
    """Return our side."""
    return Side(
        name="ours",
        module="benchmarks.peers.ours",
        scripts=MappingProxyType({}),
        words=_our_words,
        told=_nothing_told,
        prepare=_nothing,
        adapted=_everything,
    )


def peers() -> Mapping[str, Side]:
    """Return the others by the names of the options that give their checkouts."""
    return MappingProxyType({"sd_scripts": _sd_scripts(), "diffusers": _diffusers()})


def _sd_scripts() -> Side:
    return Side(
        name="sd-scripts",
        module="benchmarks.peers.sd_scripts",
        scripts=MappingProxyType({"sdxl": "sdxl_train_network.py", "sd3": "sd3_train_network.py"}),
        words=_sd_scripts_words,
        told=lambda work, _out: {"small": dict(work.architecture.small) if work.size.small else None},
        prepare=_nothing,
        adapted=_everything,
    )


def _diffusers() -> Side:
    return Side(
        name="diffusers",
        module="benchmarks.peers.diffusers_script",
        scripts=MappingProxyType({"sdxl": "examples/text_to_image/train_text_to_image_lora_sdxl.py"}),
        words=_diffusers_words,
        told=_told_diffusers,
        prepare=write_diffusers_folder,
        adapted=attention_alone,
    )


def _nothing(_work: Work) -> None:
    """Write nothing: the work's files are enough."""


def _nothing_told(_work: Work, _out: Path) -> Mapping[str, Any]:
    return {}


def _everything(architecture: Architecture) -> Architecture:
    return architecture


def _our_words(work: Work, out: Path) -> Iterator[str]:
    yield from ("--arch", work.architecture.plugin, *work.words(out))


def _sd_scripts_words(work: Work, out: Path) -> Iterator[str]:
    yield from work.words(out)
    # pictures are read in a process of their own: on 2 cores it is told to load them in the thread that trains
    yield from (("--max_data_loader_n_workers", "0") if work.device == "cpu" else ())


def _diffusers_words(work: Work, out: Path) -> Iterator[str]:
    """Give the options of diffusers' script; its own defaults are those of the work's AdamW."""
    yield from ("--pretrained_model_name_or_path", str(model_folder(work)))
    yield from ("--train_data_dir", str(picture_folder(work)), "--cache_dir", str(work.folder / "diffusers" / "cache"))
    yield from ("--resolution", str(work.size.side), "--center_crop", "--train_batch_size", str(work.batch))
    yield from ("--max_train_steps", str(work.steps), "--checkpointing_steps", str(work.steps + 1))
    yield from ("--rank", str(work.rank), "--seed", "0", "--learning_rate", "1e-4")
    yield from ("--lr_scheduler", "constant", "--lr_warmup_steps", "0")
    yield from ("--max_grad_norm", str(_UNCLIPPED if work.gradient else 1.0))
    yield from ("--mixed_precision", "no" if work.device == "cpu" else "bf16", "--output_dir", str(out / "script"))
    yield from (("--gradient_checkpointing",) if work.checkpointing else ())


def _told_diffusers(work: Work, out: Path) -> Mapping[str, Any]:
    return {
        "adapters": str(work.adapters),
        "result": str(out / "lora.safetensors"),
        "pictures": str(work.folder / "pictures"),
        "batch": work.batch,
        "names": layer_names(work),
        "gradient": work.gradient,
    }
