"""What a person sees: the run's header, a progress bar, and a line for everything that is worth one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from loracore import Event, ModelOptions, PluginOptions, TrainingOptions, hookimpl
from loracore.config.options import LoggingOptions, ValidationOptions
from loracore.config.tracker_names import tracker_names
from loracore.config.updates.optimizer_arguments import finds_own_rates
from loracore.config.updates.optimizer_names import optimizer_name
from loracore.data.bucket_table import bucket_lines, bucket_table
from loracore.defaults.validation import due_scopes
from loracore.errors import printable

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from loracore.training.run import Run

MOST_BUCKETS = 12  # lines of the header


@hookimpl
def happened(run: Run, event: Event) -> None:
    """Print the header and show the bar, move it with every step, and print a line for what is worth one."""
    if event.kind == "started":
        for line in header(run):
            run.outlets.progress.say(printable(line))  # names of files may hold what a terminal obeys
        run.outlets.progress.start(event.step)
    if event.kind == "step":
        run.outlets.progress.advance(event.step, dict(_behind_the_bar(run, event)))
    found = None if _said_before(run, event) else event_line(event)
    if found is not None:
        level, line = found
        run.outlets.progress.say(printable(line), level)


@hookimpl
def run_finished(run: Run) -> None:
    """Say how many steps were skipped."""
    if run.steps.history.skipped:
        line = f"{run.steps.history.skipped} steps were skipped: their loss or gradient was not finite"
        run.outlets.progress.say(line, logging.WARNING)


def event_line(event: Event) -> tuple[int, str] | None:
    """Return how serious an event is (a level of logging) and its line; None for one that only moves the bar."""
    words = _LINES.get(event.kind)
    if words is None or (event.kind == "finished" and event.values["reason"] == "done"):
        return None
    level, line = words
    return level, line(event.step, event.values)


def _said_before(run: Run, event: Event) -> bool:
    """Tell whether this is a validation's second event, or the end by an error, which is shown as one.

    A validation that is due for step and epoch is told for both.
    """
    if event.kind == "finished":
        return event.values["reason"] not in {"done", run.control.reason}
    if event.kind != "validation" or event.values["scope"] != "epoch":
        return False
    return "step" in due_scopes(run.config[ValidationOptions], run.length, event.step)


def _skipped_line(step: int, values: Mapping[str, Any]) -> str:
    return f"step {step} was skipped, its loss or gradient was not finite: {', '.join(values['ids'])}"


def _validation_line(step: int, values: Mapping[str, Any]) -> str:
    average, divergence = values["loss"], values.get("divergence")
    line = f"step {step}: validation loss " + ("not finite" if average is None else f"{average:.4f}")
    if divergence is not None:
        line += f" ({divergence:+.4f} to training)"
    return line + (", the best so far" if values.get("best") else "")


#: What is said of which kinds of events, and how serious it is.
_LINES: Mapping[str, tuple[int, Callable[[int, Mapping[str, Any]], str]]] = MappingProxyType(
    {
        "saved": (logging.INFO, lambda step, values: f"step {step}: saved {values['path']}"),
        "validation": (logging.INFO, _validation_line),
        "skipped": (logging.WARNING, _skipped_line),
        "save_failed": (
            logging.ERROR,
            lambda step, values: f"step {step}: {values['path']} could not be saved: {values['message']}",
        ),
        "preview": (logging.DEBUG, lambda step, values: f"step {step}: drew {values['path']}"),
        "preview_failed": (
            logging.WARNING,
            lambda step, values: f"step {step}: a preview could not be drawn: {values['message']}",
        ),
        "note": (logging.INFO, lambda _, values: str(values["text"])),
        "finished": (logging.INFO, lambda step, values: f"the run ended behind step {step}: {values['reason']}"),
    }
)


def _behind_the_bar(run: Run, event: Event) -> Iterator[tuple[str, str]]:
    """Give what is shown behind the bar: epoch, average loss, learning rate, pictures a second, memory."""
    values = event.values
    yield "epoch", f"{values['epoch']}/{run.length.epochs}"
    yield "avr_loss", "…" if values["average"] is None else f"{values['average']:.4f}"
    yield "lr", f"{max(values['lr'].values(), default=0.0):.2e}"
    if "keys_scaled" in values:  # the field's own words for these two
        yield "Keys Scaled", str(values["keys_scaled"])
        yield "Average key norm", f"{values['average_key_norm']:.4f}"
    yield "images/s", f"{run.outlets.progress.images_per_second(event.step):.2f}"
    yield "GB", f"{run.outlets.memory.gigabytes():.1f}"
    if run.steps.history.skipped:
        yield "skipped", str(run.steps.history.skipped)


def header(run: Run) -> Iterator[str]:
    """Give the header's lines."""
    config, length, index = run.config, run.length, run.steps.loader.index
    model, plugins, logs = config[ModelOptions], config[PluginOptions], config[LoggingOptions]
    parameters = sum(one.numel() for group in run.moving.optimizer.param_groups for one in group["params"])
    yield f"base model   {model.pretrained_model_name_or_path} ({plugins.arch})"
    yield (
        f"network      {plugins.network_module}: {len(run.network.entries)} modules, {parameters:,} trained parameters"
    )
    batches = f"{length.batches_per_epoch} batches an epoch"
    yield f"data         {len(index)} pictures, {index.samples} with repeats, in {batches}"
    for line in bucket_lines(bucket_table(index, run.steps.course.batch_sizes, run.processes.count), MOST_BUCKETS):
        yield f"             {line}"
    yield f"length       {length.steps} steps, {length.epochs} epochs of {length.steps_per_epoch}; seed {run.seed}"
    rates = ", ".join(f"{name} {rate:g}" for name, rate in run.moving.schedule.base_rates().items())
    training = config[TrainingOptions]
    yield f"optimizer    {optimizer_name(training)}: {rates}; {_course(training, run.moving.optimizer)}"
    many = "1 process" if run.processes.count == 1 else f"{run.processes.count} processes"
    yield f"precision    {model.mixed_precision} on {run.processes.device}, in {many}"
    memory = list(_spared(model))
    if memory:
        yield f"memory       {', '.join(memory)}"
    yield f"log          {run.outlets.log.folder}: events.jsonl, and report.html at the end"
    trackers = tracker_names(logs.log_with, logs.logging_dir)
    if trackers:
        yield f"trackers     {', '.join(trackers)}" + (f" in {logs.logging_dir}" if logs.logging_dir else "")
    for note in run.notes:
        yield f"note         {note}"


def _course(training: TrainingOptions, optimizer: Optimizer) -> str:
    """Return what becomes of the rates over the run."""
    from loracore.training.updates.schedule_free import is_schedule_free

    if finds_own_rates(training):
        return "relative steps, a course of its own"
    if is_schedule_free(optimizer):
        return "no course: schedule-free"
    return training.lr_scheduler_type or training.lr_scheduler


def _spared(model: ModelOptions) -> Iterator[str]:
    """Give what is done to spare the device's memory."""
    if model.gradient_checkpointing:
        yield "activations computed again" + (", inputs kept on the host" if model.cpu_offload_checkpointing else "")
    elif model.checkpointed_blocks:
        yield f"activations of {len(set(model.checkpointed_blocks))} blocks of the denoiser computed again"
    if model.blocks_to_swap:
        yield f"{model.blocks_to_swap} blocks of the denoiser wait on the host"
    if model.fp8_base or model.fp8_base_unet:
        yield f"{'denoiser and text encoders' if model.fp8_base else 'denoiser'} stored in fp8"
    if model.base_model_precision != "given":
        yield f"matrices of the denoiser stored as {model.base_model_precision}"
