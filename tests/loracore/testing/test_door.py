from __future__ import annotations

import subprocess
import sys

import loracore.testing


def test_every_public_name_is_there() -> None:
    assert [name for name in loracore.testing.__all__ if getattr(loracore.testing, name) is None] == []


def test_the_door_costs_no_torch() -> None:
    program = "import sys; from loracore.testing import install_metadata; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"
