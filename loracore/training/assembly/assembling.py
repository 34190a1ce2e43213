"""From a plan to the run: phases, network, optimizer, header."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from loracore.config.options import (
    HubOptions,
    LoggingOptions,
    SavingOptions,
    StateOptions,
    TrainingOptions,
    ValidationOptions,
)
from loracore.config.prompts.wanted import preview_texts
from loracore.config.secret_values import secret_values
from loracore.config.updates.optimizer_arguments import optimizer_arguments
from loracore.data.summary import dataset_metadata
from loracore.memory.quantised.storing import quantised_notes
from loracore.networks.network import Network
from loracore.speed.speed import Speed
from loracore.training.assembly.plan import Plan
from loracore.training.assembly.preparing import Prepared, Preparing, prepare
from loracore.training.assembly.run_network import attach, started_network, still_entries
from loracore.training.assembly.run_targets import run_targets
from loracore.training.caches.caching import caches_latents
from loracore.training.metadata import Header, ModelHashes, model_hashes, run_metadata
from loracore.training.metadata.background import sought
from loracore.training.metadata.single_data import single_data_metadata
from loracore.training.previews.ready import ready_previews
from loracore.training.results.disk_space import room_notes
from loracore.training.results.outputs import ResultFiles
from loracore.training.results.retention import Retention
from loracore.training.results.saving import Saver
from loracore.training.results.snapshots import Snapshots
from loracore.training.results.writing import BackgroundWriter
from loracore.training.run import Run
from loracore.training.run_parts import Outlets, Results, Steps, Watch
from loracore.training.state.models import model_identities
from loracore.training.state.resuming import steps_before
from loracore.training.state.starting import Start
from loracore.training.steps.control import Control
from loracore.training.steps.history import LAG, History
from loracore.training.steps.length import Length
from loracore.training.steps.step import Forward
from loracore.training.telling.event_log import EventLog, log_folder
from loracore.training.telling.memory_use import MemoryUse
from loracore.training.telling.progress import Progress
from loracore.training.telling.trackers import Trackers
from loracore.training.updates.moving import Moving, moving
from loracore.training.updates.optimizers import describe
from loracore.training.uploading.uploads import Uploads
from loracore.training.validation.record import Record
from loracore.training.watchdogs.unmoved import Movement
from loracore.types import DENOISER, Models, Part
from loracore.weights.merge.base_weights import base_weights_metadata


def ready_data(plan: Plan) -> Prepared:
    """Return the data of the run, encoded as far as the options allow."""
    scanned, texts = plan.scanned, preview_texts(plan.prompts)
    return prepare(
        Preparing(
            plan.loading, plan.processes, plan.seed, scanned.training, plan.text.cached, scanned.validation, texts
        )
    )


def assemble_run(plan: Plan, files: ResultFiles) -> Run:
    """Go through the phases (text, VAE, denoiser) and return the run, ready for its first step."""
    config, loaded = plan.config, _load(plan)
    ready, network, length = loaded.ready, loaded.network, loaded.ready.course.length
    moved_by = moving(network, config, plan.processes, length.steps)
    return Run(
        config=config,
        hook=plan.hook,
        processes=plan.processes,
        seed=plan.seed,
        notes=[*plan.notes, *ready.notes, *quantised_notes(loaded.models), *room_notes(network, config, length)],
        start=_start(plan, length),
        length=length,
        network=network,
        steps=_steps(plan, loaded),
        moving=moved_by,
        results=_results(plan, loaded, moved_by, files),
        outlets=_outlets(plan, loaded, files),
        watch=Watch(
            movement=Movement(network, moved_by.optimizer),
            held_out=ready.held_out,
            validations=Record(config[ValidationOptions]),
            previews=ready_previews(plan.loading, plan.prompts, loads_vae=loaded.models.vae is None),
        ),
        control=Control(),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Loaded:
    """What the phases leave for the steps."""

    hashes: Sequence[ModelHashes]  # looked for meanwhile
    ready: Prepared
    models: Models
    network: Network
    speed: Speed


def _load(plan: Plan) -> _Loaded:
    """Go through the phases: text, VAE, denoiser."""
    hashes = model_hashes(plan.config, wanted=plan.processes.main)
    ready, still = ready_data(plan), still_entries(plan)
    models = plan.loading.models(*_parts_of_steps(plan))
    trained, _ = started_network(plan, models, run_targets(plan.hook, models, plan.config))
    network = Network([*still, *trained.entries])
    speed = Speed.of(plan.config, plan.processes.device)
    attach(plan, network, models, speed)
    return _Loaded(hashes, ready, models, network, speed)


def _parts_of_steps(plan: Plan) -> tuple[Part, ...]:
    """Return the parts that steps need."""
    vae: tuple[Part, ...] = () if caches_latents(plan.config) else ("vae",)
    return ("denoiser", *plan.text.live, *vae)


def _start(plan: Plan, length: Length) -> Start:
    """Return where the run begins; the length of an epoch, and which models the hub gave, are known by now."""
    start = plan.start
    models = model_identities(plan.config, start.identity.get("models", {}))
    taken = start.taken if start.resumed else steps_before(plan.config, length)
    return replace(start, taken=taken, identity={**start.identity, "models": models})


def _steps(plan: Plan, loaded: _Loaded) -> Steps:
    ready, processes = loaded.ready, plan.processes
    forward = Forward(plan.hook, loaded.models, plan.config, processes.device, plan.seed, loaded.network)
    lag = 0 if processes.device.type == "cpu" else LAG  # the CPU has nothing to wait for
    history = History(ready.course.length.steps_per_epoch, lag, processes.gather)
    _record(loaded)
    return Steps(ready.course, ready.loader, forward, history, loaded.speed)


def _record(loaded: _Loaded) -> None:
    """Let the denoiser's passes be recorded where that is asked for, the optimizer having laid out the parameters."""
    network = loaded.network
    own = [entry.adapter for entry in network.entries if entry.target.part == DENOISER]
    parameters = [one for adapter in own for one in adapter.parameters() if one.requires_grad]
    loaded.speed.record(loaded.models, parameters, lambda: network.multiplier, network.prepared)


def _results(plan: Plan, loaded: _Loaded, moved_by: Moving, files: ResultFiles) -> Results:
    config, writer = plan.config, BackgroundWriter()
    epochs = loaded.ready.course.length.epochs
    retention = Retention(files, config[SavingOptions], config[StateOptions], epochs)
    header, averaged = _header(plan, loaded, moved_by), () if moved_by.ema is None else moved_by.ema.averages
    saver = Saver(header, Snapshots(loaded.network, averaged), writer, retention) if plan.processes.main else None
    return Results(files, retention, writer, saver, Uploads(config[HubOptions]))


def _outlets(plan: Plan, loaded: _Loaded, files: ResultFiles) -> Outlets:
    config, length = plan.config, loaded.ready.course.length
    images = loaded.ready.loader.index.samples / length.steps_per_epoch
    progress = Progress(length.steps, images, config[LoggingOptions], shown=plan.processes.main)
    log, memory = EventLog(log_folder(files), secret_values(config)), MemoryUse(plan.processes.device)
    return Outlets(progress, log, Trackers(config), memory)


def _header(plan: Plan, loaded: _Loaded, moved_by: Moving) -> Header:
    """Return what saved files say; tags are counted in the background, which takes seconds for a million captions."""
    index, held_out = loaded.ready.loader.index, len(plan.scanned.validation)
    data = sought(partial(dataset_metadata, index, plan.datasets, held_out), "tags") if plan.processes.main else None
    slow = [*(one.metadata for one in loaded.hashes), *([] if data is None else [data.result])]
    resolution = max((dataset.resolution for dataset in plan.datasets), key=math.prod)
    return Header(plan.config, _metadata(plan, loaded, moved_by), slow, resolution, plan.start.session)


def _metadata(plan: Plan, loaded: _Loaded, moved_by: Moving) -> Mapping[str, str]:
    """Return what every file of the run says in its header, but for what is looked for in the background."""
    named = describe(moved_by.optimizer, optimizer_arguments(plan.config[TrainingOptions]))
    return {
        **run_metadata(plan.config, loaded.network, loaded.ready.course.length, plan.seed, named),
        **single_data_metadata(plan.config, plan.processes.count),
        **base_weights_metadata(plan.config),
        **plan.hook.file_metadata(models=loaded.models, config=plan.config),
    }
