"""A hub without a network: it keeps what it is sent, and fails as often as it is told to."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any


def unset() -> Event:
    """Return a gate that stands open."""
    gate = Event()
    gate.set()
    return gate


@dataclass(eq=False)
class FakeHub:
    """The methods of HfApi that are called, on a folder."""

    folder: Path
    failures: int = 0  # of the next calls
    error: Exception = field(default_factory=lambda: ConnectionError("no route to the hub with hf_secret"))
    gate: Event = field(default_factory=unset)  # closed: uploads wait for it
    made: list[dict[str, Any]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    kind: str = "model"  # of the repository that is to be asked for

    def create_repo(self, repo_id: str, **how: Any) -> None:
        self._answer()
        self.made.append({"repo_id": repo_id, **how})

    def upload_file(self, *, path_or_fileobj: Path, path_in_repo: str, repo_id: str, repo_type: str) -> None:
        self._upload(path_or_fileobj, path_in_repo, repo_id, repo_type)

    def upload_folder(self, *, folder_path: Path, path_in_repo: str, repo_id: str, repo_type: str) -> None:
        for path in sorted(path for path in folder_path.rglob("*") if path.is_file()):
            self._upload(path, f"{path_in_repo}/{path.relative_to(folder_path).as_posix()}", repo_id, repo_type)

    def list_repo_files(self, repo_id: str, **_how: Any) -> list[str]:
        self._answer()
        root = self.folder / repo_id
        return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]

    def hf_hub_download(self, repo_id: str, filename: str, **_how: Any) -> str:
        self._answer()
        self.sent.append(filename)
        return str(self.folder / repo_id / filename)

    def _upload(self, source: Path, name: str, repo_id: str, repo_type: str) -> None:
        assert repo_type == self.kind
        self.gate.wait(30)
        self._answer()
        target = self.folder / repo_id / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        self.sent.append(name)

    def _answer(self) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
