"""``python -m loracore.testing train toy.toml``: a command of loracore, with the toy architecture and network there."""

from __future__ import annotations

import sys

from loracore.cli.main import run
from loracore.testing.installing import toys_installed

if __name__ == "__main__":
    with toys_installed():
        code = run(sys.argv[1:])
    sys.exit(code)
