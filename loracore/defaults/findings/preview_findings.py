"""What is wrong or without effect in the options of previews, their file of prompts included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loracore.config.config import Config, Finding
from loracore.config.options import PreviewOptions
from loracore.config.prompts.wanted import previews_ever, prompt_file
from loracore.errors import ConfigError

_MOMENTS = ("sample_at_first", "sample_every_n_steps", "sample_every_n_epochs")


def preview_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong with the file of prompts, and options that do nothing; the file is read, quickly."""
    options = config[PreviewOptions]
    if options.sample_prompts is None:
        yield from _without_prompts(config, options)
    elif not previews_ever(options):
        fix = "give --sample_every_n_epochs 1, --sample_every_n_steps N or --sample_at_first"
        message = "sample_prompts has no effect: there is no moment at which they would be drawn"
        yield Finding("without effect", "sample_prompts", message, fix)
        if not Path(options.sample_prompts).expanduser().is_file():
            yield Finding("wrong", "sample_prompts", "no such file of prompts", "check the path, or leave it out")
    if options.sample_every_n_epochs and options.sample_every_n_steps:
        message = "sample_every_n_steps has no effect: sample_every_n_epochs wins over it"
        yield Finding("without effect", "sample_every_n_steps", message, "leave out one of the two")
    yield from _of_the_file(config)


def _without_prompts(config: Config, options: PreviewOptions) -> Iterator[Finding]:
    named = [name for name in _MOMENTS if getattr(options, name)]
    for name in named:
        message = f"{name} draws previews, but no prompts are given"
        yield Finding("wrong", name, message, f"give --sample_prompts FILE, or leave out {name}")
    if not named and config.given("sample_sampler"):
        yield Finding("without effect", "sample_sampler", "sample_sampler has no effect: no previews are drawn")


def _of_the_file(config: Config) -> Iterator[Finding]:
    try:
        found = prompt_file(config)
    except ConfigError as error:
        for one in error.problems:
            yield Finding("wrong", "sample_prompts", one.message, one.fix, one.where)
        return
    for remark in found.remarks if found is not None else ():
        yield Finding(remark.fate, "sample_prompts", remark.message, remark.fix, remark.where)
