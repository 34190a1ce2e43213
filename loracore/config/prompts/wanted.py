"""Which prompts a run draws, and what its text encoders have to read for them; no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import PreviewOptions
from loracore.config.prompts.file import PromptFile, read_prompts
from loracore.config.prompts.prompt import Prompt
from loracore.errors import ConfigError, Problem


def previews_ever(options: PreviewOptions) -> bool:
    """Tell whether there is a moment at which prompts are to be drawn."""
    return bool(options.sample_at_first or options.sample_every_n_steps or options.sample_every_n_epochs)


def prompt_file(config: Config) -> PromptFile | None:
    """Return what the run's file of prompts holds, None where it draws none; raises ConfigError as `read_prompts`."""
    options = config[PreviewOptions]
    if options.sample_prompts is None or not previews_ever(options):
        return None
    return read_prompts(Path(options.sample_prompts).expanduser())


def wanted_prompts(config: Config) -> tuple[Prompt, ...]:
    """Return the prompts that the run draws; none where it draws no previews.

    Raises ConfigError for a file that cannot be used, with all that is wrong.
    """
    found = prompt_file(config)
    if found is None:
        return ()
    wrong = [Problem(one.message, one.where, one.fix) for one in found.remarks if one.fate == "wrong"]
    if wrong:
        raise ConfigError.of(wrong)
    return found.prompts


def preview_texts(prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """Return what the text encoders read for these prompts, each text once."""
    return tuple(dict.fromkeys(text for one in prompts for text in (one.prompt, one.negative_prompt)))
