"""What the documents say is true: the tutorial runs as it stands, options exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from loracore.cli.choice import plugin_options
from loracore.cli.main import COMMANDS
from loracore.config.dataset_keys import KEYS
from loracore.config.options import PluginOptions
from loracore.config.sections import read_sections
from loracore.config.toml_file import read_toml
from loracore.weights.options import ConvertOptions, ExtractOptions, MergeOptions, ResizeOptions

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/hooks.md",
    "docs/plugins.md",
    "docs/architecture.md",
    "docs/tutorial.md",
    "docs/tools.md",
    "docs/guides.md",
    "docs/networks.md",
    "docs/benchmarks.md",
    "docs/training.md",
    "docs/options-of-the-field.md",
    "docs/optimizers.md",
    "docs/events.md",
    "docs/distributed.md",
    "docs/data.md",
    "docs/quantised-weights.md",
    "docs/memory.md",
    "docs/speed.md",
)
FENCE = re.compile(
    r"^```(?P<language>\w+)(?: (?P<where>file|more)=(?P<path>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
#: Switches of commands and of other programs that the documents name, beside the options of runs.
SWITCHES = {
    "multi_gpu",  # of accelerate launch
    "json",
    "json_schema",
    "check",
    "arch",
    "network",
    "help",
    "version",
    "no_NAME",
    "no_cache_latents",
    "strict",
    "out",  # of benchmark scripts
    "tiny",
    "small",
    *("size", "device", "batch", "checkpointing", "pairs", "steps", "warm_up", "our_words"),  # of benchmarks.peers
    *("sd_scripts", "sd_scripts_python", "sd_scripts_words", "threads"),
    *("diffusers", "diffusers_python", "diffusers_words", "dataloader_num_workers"),  # the last is diffusers' script's
    "model",  # of benchmarks/first_step.py
    "picture",  # of `loracore inspect`
    *("kind", "into"),  # of `loracore new-plugin`
    "calm_strength",  # an option of the package that the tutorial has it write
    "num_cpu_threads_per_process",  # of the launcher that the field's guides put before their command
    *("config_file", "output_config", "print_config"),
    "output",  # of `loracore report`
    *("w", "h", "s", "l", "d", "n", "ss", "fs", "g", "cn", "ctr", "rcfg"),  # of a line of prompts
    *(
        "num_machines",
        "machine_rank",
        "main_process_ip",
        "main_process_port",
        "use_fsdp",
        "fsdp_version",
    ),  # of accelerate
    *("standalone", "nproc_per_node"),  # of torchrun
    *("hooks", "fixtures"),  # of `loracore plugins` and of pytest
    "warm_mode",  # an option that the example of docs/plugins.md refuses
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what it is in, and for files, where its text goes."""

    language: str
    text: str
    path: str = ""
    appends: bool = False


def blocks(path: Path) -> Iterator[Block]:
    for found in FENCE.finditer(path.read_text(encoding="utf-8")):
        yield Block(found["language"], found["text"], found["path"] or "", appends=found["where"] == "more")


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder in which a reader follows a tutorial."""

    folder: Path
    site: Path
    sources: list[str] = field(default_factory=list)  # of packages installed in editable mode

    def write(self, block: Block) -> None:
        path = self.folder / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if block.appends else ""
        path.write_text(before + block.text, encoding="utf-8")

    def follow(self, block: Block) -> None:
        """Run each command of a console block; the lines below it are among those that it prints, in their order."""
        lines = iter(block.text.splitlines())
        commands: list[tuple[str, list[str]]] = []
        for is_command, several in groupby(lines, key=lambda line: line.startswith("$ ")):
            if is_command:
                commands += [(line.removeprefix("$ "), []) for line in several]
            else:
                commands[-1][1].extend(several)
        for command, expected in commands:
            printed = self.run(command)
            pattern = ".*".join(r"[^\n]*".join(map(re.escape, line.split(" … "))) for line in expected)
            assert re.search(pattern, printed, re.DOTALL), f"$ {command}\n{printed}"

    def run(self, command: str) -> str:
        """Return what a command prints; the reader sees standard error, too."""
        words = shlex.split(command)
        if words[:3] == ["pip", "install", "-e"]:
            return self.install(words[3])
        modules = {name: [sys.executable, "-m", name] for name in ("loracore", "pytest")}
        programs = {"python": [sys.executable], "cat": ["cat"], **modules}
        path = os.pathsep.join([*self.sources, str(self.site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [*programs[words[0]], *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            cwd=self.folder,
            env={**os.environ, **quiet, "PYTHONPATH": path},
            check=False,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def install(self, tree: str) -> str:
        """Install a tree's metadata without index or dependencies; its code is used from where it is, as by ``-e``."""
        switches = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *switches, "--target", str(self.site), tree]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=self.folder, check=False)
        assert done.returncode == 0, done.stderr
        self.sources.append(str(self.folder / tree))
        return done.stdout


@pytest.mark.timeout(900)  # some twenty processes that import torch
def test_the_tutorial_runs_as_it_stands(root: Path, tmp_path: Path) -> None:
    place = Workplace(tmp_path, tmp_path / "site")
    for block in blocks(root / "docs" / "tutorial.md"):
        if block.path:
            place.write(block)
        elif block.language == "console":
            place.follow(block)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        "spots-calm.safetensors",
        "spots-diff.safetensors",
        "spots.safetensors",
    ]


def test_the_option_reference_is_up_to_date(root: Path) -> None:
    command = [sys.executable, str(root / "docs" / "make_options.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def known_options() -> set[str]:
    tables = ((), (MergeOptions,), (ConvertOptions,), (ResizeOptions,), (ExtractOptions,))
    networks = ("lora", "dylora", "dora", "oft", "lokr", "lycoris")
    choices = [PluginOptions(arch=arch) for arch in ("sdxl", "sd3")]
    choices += [PluginOptions(network_module=network) for network in networks]
    return {name for choice in choices for table in tables for name in plugin_options(choice, table).options}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_that_a_document_names_exists(root: Path, document: str, known_options: set[str]) -> None:
    text = (root / document).read_text(encoding="utf-8")
    named = {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([A-Za-z][\w-]*)", text)}
    own = set(re.findall(r"^    (\w+): Annotated", text, re.MULTILINE))  # those that a tutorial declares
    assert named - known_options - SWITCHES - own == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_exists(root: Path, document: str) -> None:
    text = (root / document).read_text(encoding="utf-8")
    shown = "\n".join(block.text for block in blocks(root / document))
    word = r"loracore ([a-z]+(?:-[a-z]+)*)\b"
    named = re.findall(f"`{word}", text) + re.findall(rf"^(?:\$ )?{word}", shown, re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_the_readmes_data_set_and_run_files_hold_known_keys_only(
    root: Path, tmp_path: Path, known_options: set[str]
) -> None:
    files = [block for block in blocks(root / "README.md") if block.language == "toml"]
    assert files
    for number, block in enumerate(files):
        path = tmp_path / f"{number}.toml"
        path.write_text(block.text, encoding="utf-8")
        sections = read_sections(read_toml(path))
        assert sections.problems == ()
        assert {given.name for given in sections.given} <= known_options
        inside = re.findall(r"^\s*(\w+) = ", block.text, re.MULTILINE)
        assert set(inside) <= {*KEYS, *known_options}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(root: Path, document: str) -> None:
    path = root / document
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?://)([^)#]+)", prose)
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_expected_output_is_really_compared(tmp_path: Path) -> None:
    place = Workplace(tmp_path, tmp_path)
    place.follow(Block("console", "$ python -c 'print(\"one two three\")'\none … three\n"))
    with pytest.raises(AssertionError):
        place.follow(Block("console", "$ python -c 'print(\"one\")'\ntwo\n"))
