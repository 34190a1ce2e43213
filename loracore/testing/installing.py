"""Installed metadata for tests: what pip would leave of a distribution whose modules are there already."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: The toy architecture and the toy network, as a distribution would bring them.
TOYS: Mapping[str, Mapping[str, str]] = {
    "loracore.architectures": {"toy": "loracore.testing.toy"},
    "loracore.networks": {"toy": "loracore.testing.toy_network"},
}


def install_metadata(site: Path, name: str, version: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Write into ``site`` what pip would leave of a distribution: {"loracore.architectures": {"toy": "a.module"}}.

    Written again, it is replaced.
    """
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {module}" for point, module in points.items()), "")
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    importlib.invalidate_caches()


@contextmanager
def toys_installed() -> Iterator[Path]:
    """Have architecture and network "toy" among the installed plugins of this process, as long as this lasts."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        install_metadata(site, "loracore-toys", "1.0", TOYS)
        sys.path.insert(0, folder)
        try:
            yield site
        finally:
            sys.path.remove(folder)
            importlib.invalidate_caches()
