"""What several architectures say of a run's prompts for previews; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from loracore.config.config import Config, Finding
from loracore.config.options import PreviewOptions
from loracore.config.prompts.prompt import Prompt
from loracore.config.prompts.wanted import wanted_prompts
from loracore.errors import ConfigError


def ddpm_preview_findings(config: Config) -> Iterator[Finding]:
    """Give prompts with a shift, which is of flow models, and a sampler that lacks its package."""
    prompts = sound_prompts(config)
    for one in prompts:
        if one.flow_shift is not None:
            message = "flow_shift has no effect: it is of flow models"
            yield Finding("without effect", "sample_prompts", message, where=one.where)
    own = config[PreviewOptions].sample_sampler
    if find_spec("scipy") is None and any((one.sample_sampler or own).endswith("lms") for one in prompts):
        yield Finding("wrong", "sample_sampler", "the sampler lms needs scipy", "pip install scipy, or use euler")


def flow_preview_findings(config: Config) -> Iterator[Finding]:
    """Give samplers: a flow model is always sampled by Euler's method."""
    reason = "has no effect: this model is always sampled by Euler's method"
    if config.given("sample_sampler"):
        yield Finding("without effect", "sample_sampler", f"sample_sampler {reason}", "leave it out")
    for one in sound_prompts(config):
        if one.sample_sampler is not None:
            message = f"the sampler {one.sample_sampler} {reason}"
            yield Finding("without effect", "sample_prompts", message, where=one.where)


def sound_prompts(config: Config) -> tuple[Prompt, ...]:
    """Return the prompts, none where something is wrong with them, which the core says."""
    try:
        return wanted_prompts(config)
    except ConfigError:
        return ()
