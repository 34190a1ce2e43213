"""Where compiled code is kept from run to run: torch is told by its own environment variable alone."""

from __future__ import annotations

import os

from loracore.config.config import Config
from loracore.config.options import SpeedOptions
from loracore.data.places import compiled_folder

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # torch's default is among temporary files, which do not outlive a restart


def keep_compiled(config: Config) -> None:
    """Let torch keep compiled code in the user's cache folder, unless the user has told it another place."""
    folder = compiled_folder(config)
    if config[SpeedOptions].torch_compile and folder is not None:
        os.environ.setdefault(_FOLDER, str(folder))
