"""What a person sees: the run's header, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loracore import ModelOptions, PluginOptions, TrainingOptions, hookimpl
from loracore.config.optimizer_arguments import finds_own_rates
from loracore.data.bucket_table import bucket_lines, bucket_table
from loracore.errors import printable

if TYPE_CHECKING:
    from loracore.training.run import Run

MOST_BUCKETS = 12  # lines of the header


@hookimpl
def run_started(run: Run) -> None:
    """Print what is trained on what, how long, and what was noticed."""
    for line in header(run):
        run.progress.say(printable(line))  # names of files may hold what a terminal obeys
    run.progress.start()


@hookimpl
def step_done(run: Run, step: int) -> None:
    """Move the bar: epoch, average loss, learning rate, pictures a second, memory."""
    from loracore.training.memory_use import memory_used

    average = run.history.average
    values = {
        "epoch": f"{run.length.epoch_of(step)}/{run.length.epochs}",
        "avr_loss": "…" if average is None else f"{average:.4f}",
        "lr": f"{max(run.schedule.rates().values()):.2e}",
        "images/s": f"{run.progress.images_per_second():.2f}",
        "GB": f"{memory_used(run.processes.device):.1f}",
    }
    if run.history.skipped:
        values["skipped"] = str(run.history.skipped)
    run.progress.advance(values)


@hookimpl
def run_finished(run: Run) -> None:
    """Say how many steps were skipped."""
    if run.history.skipped:
        run.progress.say(f"{run.history.skipped} steps were skipped: their loss or gradient was not finite")


def header(run: Run) -> Iterator[str]:
    """Give the header's lines."""
    config, length, index = run.config, run.length, run.loader.index
    model, plugins = config[ModelOptions], config[PluginOptions]
    parameters = sum(one.numel() for group in run.optimizer.param_groups for one in group["params"])
    yield f"base model   {model.pretrained_model_name_or_path} ({plugins.arch})"
    yield (
        f"network      {plugins.network_module}: {len(run.network.entries)} modules, {parameters:,} trained parameters"
    )
    batches = f"{length.batches_per_epoch} batches an epoch"
    yield f"data         {len(index)} pictures, {index.samples} with repeats, in {batches}"
    for line in bucket_lines(bucket_table(index, run.course.batch_sizes, run.processes.count), MOST_BUCKETS):
        yield f"             {line}"
    yield f"length       {length.steps} steps, {length.epochs} epochs of {length.steps_per_epoch}; seed {run.seed}"
    rates = ", ".join(f"{name} {rate:g}" for name, rate in run.schedule.base_rates().items())
    training = config[TrainingOptions]
    course = "relative steps, a course of its own" if finds_own_rates(training) else training.lr_scheduler
    yield f"optimizer    {training.optimizer_type}: {rates}; {course}"
    yield f"precision    {model.mixed_precision} on {run.processes.device}"
    memory = list(_spared(model))
    if memory:
        yield f"memory       {', '.join(memory)}"
    for note in run.notes:
        yield f"note         {note}"


def _spared(model: ModelOptions) -> Iterator[str]:
    """Give what is done to spare the device's memory."""
    if model.gradient_checkpointing:
        yield "activations computed again" + (", inputs kept on the host" if model.cpu_offload_checkpointing else "")
    if model.blocks_to_swap:
        yield f"{model.blocks_to_swap} blocks of the denoiser wait on the host"
    if model.fp8_base or model.fp8_base_unet:
        yield f"{'denoiser and text encoders' if model.fp8_base else 'denoiser'} stored in fp8"
