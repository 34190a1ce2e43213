from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loracore.data.store.entries import Entry, StoredTensor

Key = Callable[[int], bytes]
Keys = Callable[[range], NDArray[np.uint8]]
MakeEntry = Callable[..., Entry]
Script = Callable[..., "subprocess.Popen[str]"]

#: What scripts in other processes begin with: the same keys and entries as the fixtures'.
PRELUDE = """
import hashlib, os, sys, warnings
from pathlib import Path
from loracore.data.store.entries import StoredTensor
from loracore.data.store.store import Store
from loracore.errors import DataError

def key(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()

def entry(number, size=100):
    data = hashlib.shake_128(str(number).encode()).digest(size)
    return {"mean": StoredTensor("U8", (size,), memoryview(data))}
"""


@pytest.fixture
def key() -> Key:
    """Make the key of a number."""

    def make(number: int) -> bytes:
        return hashlib.blake2b(str(number).encode(), digest_size=16).digest()

    return make


@pytest.fixture
def keys(key: Key) -> Keys:
    """Make the keys of a range, as rows."""

    def make(numbers: range) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(map(key, numbers)), np.uint8).reshape(-1, 16)

    return make


@pytest.fixture
def entry() -> MakeEntry:
    """Make the entry of a number: bytes that no other number has."""

    def make(number: int, size: int = 100) -> Entry:
        data = hashlib.shake_128(str(number).encode()).digest(size)
        return {"mean": StoredTensor("U8", (size,), memoryview(data))}

    return make


@pytest.fixture
def script() -> Script:
    """Start a process that has a key and an entry for each number, too."""

    def start(code: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + code, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)

    return start
