"""What this project runs on itself: `nox` alone does what CI does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True

PACKAGES = (".", "plugins/sdxl", "plugins/sd3", "plugins/networks")
TEST_TOOLS = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "peft",
    "jsonschema",
    "setuptools",
    "lycoris-lora",
    ".[optimizers,samplers,tensorboard,wandb]",
)
#: A process for each processor, with one thread: many tests are small, and threads would wait for each other.
SPREAD = ("--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder")  # else the longest tests come last
#: Without these, a test may reach for the network, or fight with its neighbours for the machine's cores.
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


@nox.session
def tests(session: nox.Session) -> None:
    """Install the packages and pass the tests; arguments go to pytest."""
    install(session, *TEST_TOOLS)
    spread = () if session.posargs else SPREAD
    session.run("pytest", *spread, *session.posargs, env={**QUIET, "OMP_NUM_THREADS": "1"})


@nox.session
def reliability(session: nox.Session) -> None:
    """Kill a run 50 times, resume every optimizer and feature at every kind of step, and pass the slow tests."""
    install(session, *TEST_TOOLS)
    env = {**QUIET, "OMP_NUM_THREADS": "1"}
    session.run("pytest", "-m", "reliability or slow", *session.posargs, env=env)


@nox.session
def downstream(session: nox.Session) -> None:
    """Pass every plugin's own tests against this checkout: plugins/* and examples/*, each as it is installed."""
    plugins, examples = packages_in("plugins"), packages_in("examples")
    install(session, *TEST_TOOLS, packages=[".", *map(str, (*plugins, *examples))])
    spread = () if session.posargs else SPREAD
    env = {**QUIET, "OMP_NUM_THREADS": "1"}
    for plugin in plugins:
        session.run("pytest", *spread, *session.posargs, f"tests/plugins/{plugin.name}", env=env)
    for example in examples:
        with session.chdir(example):  # where its own settings of pytest are
            session.run("pytest", *session.posargs, env=env)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a LoRA on an embedded tiny model, and show pictures before and after; `-- --arch sd3` takes SD3's."""
    install(session)
    session.run("loracore", "demo", *(session.posargs or ["--arch", "sdxl"]), env=QUIET)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and dead code with ruff."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy --strict."""
    install(session, "mypy", "pytest", "hypothesis", "nox", "types-jsonschema", "types-tqdm")
    examples = [str(module.parent) for module in sorted(Path("examples").glob("*/loracore_*/py.typed"))]
    session.run("mypy", "loracore", "plugins", "make_demo", "benchmarks", "tests", "noxfile.py", *examples)


@nox.session
def generated(session: nox.Session) -> None:
    """Check with mypy and ruff what `loracore new-plugin` writes, by its own settings."""
    install(session, "mypy", "ruff", "pytest")
    for package in new_packages(session):
        with session.chdir(package):
            session.run("mypy", ".")
            session.run("ruff", "check", ".")
            session.run("ruff", "format", "--check", ".")


@nox.session
def tests_lowest(session: nox.Session) -> None:
    """Pass the tests with the lowest versions that the bounds admit, torch excepted.

    torch stays at the version of constraints.txt: older ones have no build for CPUs alone on the package index. Old
    libraries warn of what is deprecated since, so that warnings are no errors here.
    """
    tools = ("pytest", "pytest-timeout", "hypothesis", "peft", "jsonschema", "setuptools", "lycoris-lora")
    session.install("-c", "constraints-lowest.txt", *PACKAGES, ".[optimizers,samplers,tensorboard]", *tools)
    session.run("pytest", "-W", "default", *session.posargs, env=QUIET)


def new_packages(session: nox.Session) -> Iterator[Path]:
    """Give a package of each kind as `loracore new-plugin` writes it."""
    folder = Path(session.create_tmp()) / "new"
    shutil.rmtree(folder, ignore_errors=True)
    for kind in ("architecture", "network", "extension"):
        session.run("loracore", "new-plugin", f"new-{kind}", "--kind", kind, "--into", str(folder))
        yield (folder / f"loracore-new-{kind}").resolve()


def packages_in(folder: str) -> list[Path]:
    """Return the packages of a folder, so that whoever adds one needs to name it nowhere."""
    return [path.parent for path in sorted(Path(folder).glob("*/pyproject.toml"))]


def install(session: nox.Session, *tools: str, packages: Sequence[str] = PACKAGES) -> None:
    """Install this project's packages and some tools, in the versions of constraints.txt."""
    for package in packages:  # what an earlier build left would be packed again, deleted files too
        shutil.rmtree(Path(package) / "build", ignore_errors=True)
    constraints = str(Path("constraints.txt").resolve())
    session.install("-c", constraints, *packages, *tools, env={"PIP_CONSTRAINT": constraints})
