from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import loaded


def test_files_of_single_parts_are_read_without_mapping_too(
    bare: Path, separate: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    tiny.assert_equal(loaded(bare, disable_mmap_load_safetensors=True, **separate))
