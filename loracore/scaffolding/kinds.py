"""What the texts of a new package say of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loracore.plugins import Kind


@dataclass(frozen=True, slots=True)
class KindWords:
    """What differs between the kinds where their templates do not."""

    description: str  # behind the plugin's name
    chosen: str  # how a configuration file chooses it
    #: What runs a command with all that toy.toml names. An architecture trains as it is; the others need one beside
    #: them, which the kit for tests has.
    program: str
    test_needs: tuple[str, ...]  # distributions
    files: Mapping[str, str]  # inside the package, and what each holds


_KIT = "python -m loracore.testing"

KINDS: Mapping[Kind, KindWords] = {
    "architecture": KindWords(
        description="an architecture for loracore",
        chosen='arch = "{}"',
        program="loracore",
        test_needs=("pytest", "loracore-networks"),
        files={
            "__init__.py": "the hooks: a table of contents",
            "options.py": "the options, and what can be said of them early",
            "models.py": "the modules, and where their weights come from",
            "text.py": "captions → what the denoiser is told",
            "latents.py": "pictures → latents",
            "targets.py": "where networks may put adapters, and the names in the file",
            "noise.py": "a step: noise, prediction, target",
        },
    ),
    "network": KindWords(
        description="a network for loracore",
        chosen='network_module = "{}"',
        program=_KIT,
        test_needs=("pytest",),
        files={
            "__init__.py": "the hooks: a table of contents",
            "options.py": "the options, and what can be said of them early",
            "adapter.py": "what stands in front of a layer",
        },
    ),
    "extension": KindWords(
        description="an extension for loracore",
        chosen='extensions = ["{}"]',
        program=_KIT,
        test_needs=("pytest",),
        files={"__init__.py": "the option and the hooks"},
    ),
}
