"""What is wrong, or without effect, among the options of results and states."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from loracore import Finding, SavingOptions, TrainingOptions
from loracore.config.config import Config
from loracore.config.options import MetadataOptions, StateOptions


def saving_findings(config: Config) -> Iterator[Finding]:
    """Give the findings."""
    yield from _names(config)
    yield from _intervals(config)
    yield from _states(config)
    yield from _metadata(config)
    training = config[TrainingOptions]
    if config.given("ema_decay") and not training.use_ema:
        yield Finding("without effect", "ema_decay", "without effect: there is no moving average", "add --use_ema")


def _names(config: Config) -> Iterator[Finding]:
    name = config[SavingOptions].output_name
    if name is not None and (not name.strip() or any(sign in name for sign in '/\\:*?"<>|')):
        fix = "leave folders to output_dir, and signs that file names cannot hold out"
        yield Finding("wrong", "output_name", f"'{name}' is no file name", fix)


def _intervals(config: Config) -> Iterator[Finding]:
    saving = config[SavingOptions]
    if saving.save_n_epoch_ratio and config.given("save_every_n_epochs"):
        message = "without effect: save_n_epoch_ratio says after how many epochs to save"
        yield Finding("without effect", "save_every_n_epochs", message)
    if saving.save_last_n_epochs and not (saving.save_every_n_epochs or saving.save_n_epoch_ratio):
        message = "without effect: nothing is saved by epochs"
        yield Finding("without effect", "save_last_n_epochs", message, "add --save_every_n_epochs")
    if saving.save_last_n_steps and not saving.save_every_n_steps:
        message = "without effect: nothing is saved by steps"
        yield Finding("without effect", "save_last_n_steps", message, "add --save_every_n_steps")


def _states(config: Config) -> Iterator[Finding]:
    saving, states = config[SavingOptions], config[StateOptions]
    epochs = bool(saving.save_every_n_epochs or saving.save_n_epoch_ratio)
    for name, last, saved, every in (
        ("save_last_n_epochs_state", states.save_last_n_epochs_state, epochs, "epochs"),
        ("save_last_n_steps_state", states.save_last_n_steps_state, bool(saving.save_every_n_steps), "steps"),
    ):
        if last and states.save_state and not saved:
            message = f"without effect: no state is saved by {every}"
            yield Finding("without effect", name, message, f"add --save_every_n_{every}")
    if states.save_state and not epochs and not saving.save_every_n_steps:
        message = "the state is saved at the end alone: nothing is saved before"
        fix = "add --save_every_n_steps or --save_every_n_epochs"
        yield Finding("without effect", "save_state", message, fix)


def _untold(config: Config) -> Iterator[Finding]:
    """Give what the file's metadata would have told."""
    saving, reason = config[SavingOptions], ""
    told = ["training_comment"]
    if saving.save_model_as != "safetensors":
        reason = f"a .{saving.save_model_as} file has no metadata"
        told += ["no_metadata", *(field.name for field in fields(MetadataOptions))]
    elif saving.no_metadata:
        reason = "no_metadata leaves it out"
    for name in told if reason else ():
        if config.given(name):
            yield Finding("without effect", name, f"without effect: {reason}", f"leave {name} out")


def _metadata(config: Config) -> Iterator[Finding]:
    saving = config[SavingOptions]
    if saving.save_model_as != "safetensors":
        message = f"a .{saving.save_model_as} file has no metadata: readers cannot tell what it was trained on"
        yield Finding("without effect", "save_model_as", message, "leave it out, for .safetensors")
    yield from _untold(config)
    thumbnail = config[MetadataOptions].metadata_thumbnail
    if thumbnail is None or thumbnail.startswith("data:"):
        return
    if not Path(thumbnail).is_file():
        yield Finding(
            "wrong", "metadata_thumbnail", f"there is no file {thumbnail}", "name a picture, or give a data URL"
        )
    elif not (mimetypes.guess_type(thumbnail)[0] or "").startswith("image/"):
        yield Finding("wrong", "metadata_thumbnail", f"{thumbnail} is no picture", "name a .jpg, .png or .webp file")
