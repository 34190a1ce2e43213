"""Try a plugin's import in a process of its own: does it bring torch, and from which line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType

from loracore.cli.plugin_check import contract_fault
from loracore.plugin_packages import belongs, file_of
from loracore.plugins import InstalledPlugin
from loracore.testing.contract.faults import Fault

_MARK = "loracore import trial: "
#: Seconds that a plugin's import may take; a good one takes a fraction of one.
_PATIENCE = 60
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from loracore.testing.contract.importing import trial; trial(json.loads(sys.argv[2]))"
)


def import_faults(plugin: InstalledPlugin) -> list[Fault]:
    """Return what `loracore plugins --check` would say of a plugin, with the line that brings torch."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), json.dumps(asdict(plugin))]
    file = file_of(plugin.module)
    home = file.name if file else plugin.module
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=_PATIENCE, check=False)  # noqa: S603  # our own program, no shell
    except subprocess.TimeoutExpired:
        fix = "move what takes time into the hooks"
        return [Fault("import", home, f"the import takes longer than {_PATIENCE} seconds", fix)]
    answers = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not answers:
        said = (done.stderr.strip().splitlines() or ["nothing is said"])[-1]
        message = f"the import ends the program with exit code {done.returncode}: {said}"
        return [Fault("import", home, message, "nothing may end the program, or run it, when the module is imported")]
    verdict, line = json.loads(answers[-1])
    if not verdict:
        return []
    brings_torch = "brings torch" in verdict
    fix = "import it inside the hooks: the module is imported to read options" if brings_torch else "mend it"
    message = verdict.partition(";")[0] if brings_torch else verdict
    return [Fault("import", line or home, message, fix)]


class TorchWatch:
    """A finder of modules that finds none; it notes which line of a plugin asked for torch first."""

    def __init__(self, plugin: InstalledPlugin) -> None:
        self._module = plugin.module
        self.line = ""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Note the innermost line of the plugin; the others look for the module."""
        if name == "torch" and not self.line:
            frame: FrameType | None = sys._getframe()  # noqa: SLF001  # who imports is known from the stack alone
            while frame is not None and not self.line:
                path = Path(frame.f_code.co_filename)
                self.line = f"{path.name}:{frame.f_lineno}" if self._is_own(path) else ""
                frame = frame.f_back
        return None

    def _is_own(self, path: Path) -> bool:
        root = sys.modules.get(self._module)
        file = None if root is None or root.__file__ is None else Path(root.__file__)
        return file is not None and belongs(path, file, self._module)


def trial(plugin: dict[str, str]) -> None:
    """Import a plugin in this process, and print what is wrong with it and which of its lines asked for torch."""
    installed = InstalledPlugin(**plugin)  # type: ignore[arg-type]  # kind is one of ours: the text comes from asdict
    watch = TorchWatch(installed)
    sys.meta_path.insert(0, watch)
    verdict = contract_fault(installed)
    print(f"\n{_MARK}{json.dumps([verdict, watch.line])}")  # noqa: T201  # read by the process that asked
