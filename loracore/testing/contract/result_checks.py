"""What an architecture says beside the steps: pictures, metadata of files, names of weights, a demo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from PIL.Image import Image

from loracore.testing.contract.bench import Bench
from loracore.testing.contract.encoding_checks import CAPTIONS
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.probing import Question, purity_faults
from loracore.types import DemoKit, Drawing, FieldFiles, Models, TextConditioning
from loracore.weights.layout import PartNames

#: What a picture's ``info`` says of how it was drawn.
_TOLD = ("steps", "scale", "sampler")


def result_faults(bench: Bench) -> list[Fault]:
    """Return what is wrong with the answers that no step needs; hooks that the plugin leaves out are not asked."""
    checks = {
        "generate_images": _picture_faults,
        "file_metadata": _metadata_faults,
        "weight_names": _name_faults,
        "field_files": _field_faults,
        "demo": _demo_faults,
    }
    return gathered(*(partial(check, bench) for hook, check in checks.items() if bench.answers(hook)))


def _picture_faults(bench: Bench) -> Iterator[Fault]:
    hook = "generate_images"
    with torch.no_grad():
        text = bench.load("text")
        asked, other, negative = (
            bench.ask("encode_text", TextConditioning, models=text, captions=captions)
            for captions in (CAPTIONS, CAPTIONS[::-1], ("",))
        )
        models = bench.load("vae", "denoiser")
        question = _drawing(bench, models, asked, negative)
        pictures: Sequence[Any] = question.put(bench)  # what a stranger takes for pictures
        if len(pictures) != len(CAPTIONS):
            message = f"gives {len(pictures)} pictures for {len(CAPTIONS)} rows of conditioning"
            raise CannotGoOn(bench.fault(hook, message, "draw one picture for each row"))
        for picture in pictures:
            if not isinstance(picture, Image) or picture.size != bench.size:
                size = picture.size if isinstance(picture, Image) else type(picture).__name__
                message = f"gives {size} where drawing.size is {bench.size}"
                raise CannotGoOn(bench.fault(hook, message, "return pictures of Pillow, of drawing.size"))
        untold = [name for name in _TOLD if name not in pictures[0].info]
        if untold:
            message = f"its pictures' info lacks {', '.join(untold)}"
            yield bench.fault(hook, message, "say in picture.info how it was really drawn")
        yield from purity_faults(bench, question, _drawing(bench, models, other, negative))


def _drawing(bench: Bench, models: Models, asked: TextConditioning, negative: TextConditioning) -> Question:
    given = {"models": models, "conditioning": asked, "negative": negative, "drawing": Drawing(bench.size, steps=2)}
    return Question("generate_images", Sequence, lambda: {**given, "rng": torch.Generator().manual_seed(1)})


def _metadata_faults(bench: Bench) -> Iterator[Fault]:
    told = bench.ask("file_metadata", Mapping, models=bench.load("denoiser"))
    wrong = [name for name, value in told.items() if not isinstance(name, str) or not isinstance(value, str)]
    if wrong:
        message = f"{wrong[0]!r} says {told[wrong[0]]!r}, which is no text"
        yield bench.fault("file_metadata", message, "return texts: a file's header holds nothing else")


def _name_faults(bench: Bench) -> Iterator[Fault]:
    hook, parts = "weight_names", ("text", "vae", "denoiser")
    models = bench.load(*parts).modules()
    found = bench.ask(hook, Mapping, parts=frozenset(parts))
    for name, names in found.items():
        if name not in models:
            message = f"names the weights of '{name}', which is no part"
            yield bench.fault(hook, message, f"use the keys of Models.modules(): {', '.join(models)}")
        elif not isinstance(names, PartNames):
            yield bench.fault(hook, f"gives {type(names).__name__} for '{name}'", "return PartNames for each part")
        else:
            wrong = sorted(set(names.original) ^ set(models[name].state_dict()))
            if wrong:
                message = f"of '{name}', {len(wrong)} names are not those of its tensors, for example '{wrong[0]}'"
                yield bench.fault(hook, message, "give a place for every tensor of the part, and for no other")


def _field_faults(bench: Bench) -> Iterator[Fault]:
    bench.ask("field_files", (FieldFiles, type(None)))
    yield from ()


def _demo_faults(bench: Bench) -> Iterator[Fault]:
    kit: DemoKit | None = bench.ask("demo", (DemoKit, type(None)))
    missing = [] if kit is None else [path for path in kit.pictures if not path.is_file()]
    if missing:
        message = f"its picture {missing[0].name} is not there"
        yield bench.fault("demo", message, "put the pictures into the package's data")
