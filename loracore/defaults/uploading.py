"""Sends results to the Hugging Face hub; a hub that does not answer costs a line, never the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracore import Event, Finding, hookimpl
from loracore.config.config import Config
from loracore.config.hub_places import hub_place
from loracore.config.options import HubOptions, StateOptions

if TYPE_CHECKING:
    from loracore.training.run import Run

#: Options that say how results are uploaded.
_NEEDING = (
    *("huggingface_repo_type", "huggingface_path_in_repo", "huggingface_repo_visibility"),
    *("save_state_to_huggingface", "async_upload"),
)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return what is said of the hub's options."""
    return [*_uploads(config), *_resume(config)]


@hookimpl
def run_started(run: Run) -> None:
    """Look whether the repository can be written to, and make it where it is missing."""
    if run.processes.main and run.results.uploads.wanted:
        why = run.results.uploads.check()
        if why is not None:
            kept = f"results cannot be uploaded now, and are kept in {run.results.files.folder}"
            run.tell("note", 0, text=f"{kept}; each save tries again: {why}")


@hookimpl(trylast=True)
def happened(run: Run, event: Event) -> None:
    """Upload what has been saved; wait, at the end, for what is still on its way."""
    uploads = run.results.uploads
    if not uploads.wanted:
        return
    if event.kind == "saved" and (event.values["what"] == "network" or uploads.states):
        last = event.values["reason"] in {"final", "stop"}
        for line in uploads.send(Path(event.values["path"]), wait=last):
            run.tell("note", event.step, text=line)
    if event.kind == "finished":
        for line in uploads.finish():
            run.outlets.progress.say(line, logging.INFO)


def _uploads(config: Config) -> Iterator[Finding]:
    options = config[HubOptions]
    if options.huggingface_repo_id is None:
        token = () if options.resume_from_huggingface else ("huggingface_token",)
        for name in (*_NEEDING, *token):
            if config.given(name):
                yield Finding("without effect", name, "without effect: nothing is uploaded without huggingface_repo_id")
    elif options.huggingface_repo_id.count("/") != 1:
        message = f"'{options.huggingface_repo_id}' is no repository on the hub"
        yield Finding("wrong", "huggingface_repo_id", message, "write OWNER/NAME")


def _resume(config: Config) -> Iterator[Finding]:
    if not config[HubOptions].resume_from_huggingface:
        return
    text = config[StateOptions].resume
    if text is None or hub_place(text) is None:
        message = "resume_from_huggingface needs the place of a state on the hub"
        fix = "give --resume OWNER/NAME/PATH[:REVISION[:TYPE]]"
        yield Finding("wrong", "resume" if text else "resume_from_huggingface", message, fix)
