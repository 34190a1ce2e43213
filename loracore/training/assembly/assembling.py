"""From options and plugins to the run: phases, network, optimizer, length, header."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.optimizer_arguments import finds_own_rates, optimizer_arguments
from loracore.config.options import (
    HubOptions,
    LoggingOptions,
    ModelOptions,
    NetworkOptions,
    SavingOptions,
    StateOptions,
    TrainingOptions,
    ValidationOptions,
)
from loracore.config.prompts.prompt import Prompt
from loracore.config.prompts.wanted import preview_texts, wanted_prompts
from loracore.config.secret_values import secret_values
from loracore.data.scanning import Scanned
from loracore.data.summary import dataset_metadata
from loracore.errors import ConfigError, LoracoreError
from loracore.memory.fitting import spare_activations, unneeded
from loracore.memory.sharding import shard_blocks
from loracore.networks.adapter import Adapter
from loracore.networks.idle_ranks import idle_rank_notes
from loracore.networks.network import Entry, Network, build_network
from loracore.networks.rates import parameter_groups, part_of, still_groups, trains
from loracore.noise.rng import derive_seed
from loracore.training.assembly.network_weights import placed_weights
from loracore.training.assembly.phases import Loading, free_memory
from loracore.training.assembly.preparing import Prepared, Preparing, prepare
from loracore.training.assembly.run_targets import run_targets
from loracore.training.assembly.text_split import ALL_CACHED, TextSplit, check_text_cache, split_notes, split_text
from loracore.training.caches.caching import caches_latents
from loracore.training.metadata import Header, ModelHashes, Session, model_hashes, new_session, run_metadata
from loracore.training.metadata.background import sought
from loracore.training.metadata.single_data import single_data_metadata
from loracore.training.previews.ready import ready_previews
from loracore.training.processes import Processes, weight_dtype
from loracore.training.results.disk_space import check_room, room_notes
from loracore.training.results.outputs import ResultFiles
from loracore.training.results.retention import Retention
from loracore.training.results.saving import Saver
from loracore.training.results.snapshots import Snapshots
from loracore.training.results.writing import BackgroundWriter
from loracore.training.run import Run
from loracore.training.state.models import model_identities
from loracore.training.state.resuming import steps_before
from loracore.training.steps.control import Control
from loracore.training.steps.ema import Ema, moving_average
from loracore.training.steps.history import LAG, History
from loracore.training.steps.length import Length
from loracore.training.steps.step import Forward
from loracore.training.telling.event_log import EventLog, log_folder
from loracore.training.telling.progress import Progress
from loracore.training.telling.trackers import Trackers
from loracore.training.updates.advice import advice
from loracore.training.updates.moving import Moving, check_fused, moving, trained_dtype, try_moving
from loracore.training.updates.optimizers import describe
from loracore.training.uploading.uploads import Uploads
from loracore.training.validation.record import Record
from loracore.training.watchdogs.unmoved import Movement
from loracore.types import LoraTarget, Models, Part
from loracore.weights.merge.base_weights import base_weights_lines, base_weights_metadata, check_base_weights

#: A run loads all of them, one phase after the other.
ALL_PARTS: frozenset[Part] = frozenset({"text", "vae", "denoiser"})


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What is known before anything is loaded."""

    config: Config
    hook: pluggy.HookRelay
    processes: Processes
    seed: int
    datasets: Sequence[DatasetSpec]
    scanned: Scanned
    weights: Mapping[str, Tensor] | None  # of network_weights
    notes: Sequence[str]
    text: TextSplit = ALL_CACHED  # until the network is known
    prompts: tuple[Prompt, ...] = ()  # of previews; known with the network
    taken: int | None = None  # steps of the run that is resumed
    identity: Mapping[str, Any] = field(default_factory=dict)  # of the data, as states know it
    session: Session = field(default_factory=new_session)  # that of the run that is resumed

    @property
    def loading(self) -> Loading:
        dtype = weight_dtype(self.config[ModelOptions].mixed_precision, self.processes.device)
        return Loading(self.hook, self.processes.device, dtype, self.config, self.processes.in_step)


def choose_seed(config: Config, processes: Processes) -> int:
    """Return the run's seed: the option, or one drawn here and the same in every process."""
    seed = config[TrainingOptions].seed
    return processes.agree(random.SystemRandom().randrange(2**31)) if seed is None else seed


def rehearse(plan: Plan) -> Plan:
    """Build the whole network on the meta device, so that what cannot work is said before anything is encoded.

    Returns the plan with what was noticed, and with the text encoders that have to encode in every step. Raises
    LoracoreError for model files that cannot be loaded, starting weights that do not fit, optimizers that cannot be
    made, and networks that have nothing to train.
    """
    config = plan.config
    try_moving(config[TrainingOptions])
    check_fused(config[TrainingOptions], plan.processes)
    plan.hook.check_models(parts=ALL_PARTS, config=config)
    check_base_weights(plan.hook, config)
    loading = replace(plan.loading, device=torch.device("meta"))
    models = loading.models(*trained_kinds(config))
    targets = run_targets(plan.hook, models, config)
    network, found = _network(plan, models, targets)
    if plan.processes.main:
        check_room(network, config)
    if not parameter_groups(network, config):
        message = "nothing is trained: the learning rate of every part that trains is 0"
        given = next((name for name in ("unet_lr", "text_encoder_lr") if config.given(name)), "learning_rate")
        raise ConfigError(message, where=config.place(given), fix="give a learning rate above 0")
    adapted = {entry.target.part for entry in network.entries}
    _check_placed(adapted & models.placed)
    encoders, started = tuple(models.text), {part_of(name) for name in plan.weights or ()}
    split = split_text(encoders, network, config, started)
    check_text_cache(split, encoders, network, config)
    notes = [*plan.notes, *_advice(plan, network), *split_notes(split)]
    plan = replace(plan, text=split, prompts=wanted_prompts(config), notes=notes)
    if plan.weights is not None and found < len(network.entries):
        note = f"network_weights knows {found} of the {len(network.entries)} modules; the others start fresh"
        return replace(plan, notes=[*plan.notes, note])
    return plan


def _advice(plan: Plan, network: Network) -> Iterator[str]:
    """Give notes on options that mean little, or something else, in this run."""
    training = plan.config[TrainingOptions]
    yield from (f"merged into the base model: {line}" for line in base_weights_lines(plan.config))
    still = still_groups(network, plan.config)
    if still:
        yield f"{', '.join(still)}: learning rate 0, kept as they start"
    yield from idle_rank_notes(network)
    yield from unneeded(plan.config, plan.processes.device)
    yield from advice(training)
    if plan.processes.count == 1 and plan.config.given("ddp_timeout"):
        yield "ddp_timeout has no effect: there is one process"
    if finds_own_rates(training) and any(entry.target.lr is not None for entry in network.entries):
        yield "learning rates of single parts or blocks are without effect: Adafactor finds its own"


def _check_placed(elsewhere: AbstractSet[Part]) -> None:
    """Raise ConfigError for parts that are adapted, but that an option puts on a device of their own."""
    if elsewhere:
        names = ", ".join(sorted(elsewhere))
        message = f"the network has adapters for {names}, which an option puts on a device of its own"
        fix = "adapters are on the training device: leave out that option, or the modules of this part"
        raise ConfigError(message, where="--network_module", fix=fix)


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
    ready, models, network, length = loaded.ready, loaded.models, loaded.network, loaded.ready.course.length
    moved_by = moving(network, config, plan.processes, length.steps)
    header = _header(plan, loaded, _metadata(plan, models, network, moved_by, length))
    writer, retention = BackgroundWriter(), Retention(files, config[SavingOptions], config[StateOptions], length.epochs)
    ema = moving_average(network, config[TrainingOptions])
    return Run(
        config=config,
        hook=plan.hook,
        processes=plan.processes,
        seed=plan.seed,
        length=length,
        course=ready.course,
        loader=ready.loader,
        forward=Forward(plan.hook, models, config, plan.processes.device, plan.seed, network),
        network=network,
        optimizer=moved_by.optimizer,
        schedule=moved_by.schedule,
        updates=moved_by.updates,
        history=_history(plan, length),
        progress=_progress(plan, ready.loader.index.samples / length.steps_per_epoch, length.steps),
        control=Control(),
        movement=Movement(network, moved_by.optimizer),
        uploads=Uploads(config[HubOptions]),
        writer=writer,
        retention=retention,
        saver=Saver(header, _snapshots(network, ema), writer, retention) if plan.processes.main else None,
        ema=ema,
        log=EventLog(log_folder(files), secret_values(config)),
        trackers=Trackers(config),
        held_out=ready.held_out,
        previews=ready_previews(plan.loading, plan.prompts, loads_vae=models.vae is None),
        validations=Record(config[ValidationOptions]),
        files=files,
        session=plan.session,
        notes=[*plan.notes, *ready.notes, *room_notes(network, config, length)],
        taken=steps_before(config, length) if plan.taken is None else plan.taken,
        resumed=plan.taken is not None,
        identity={**plan.identity, "models": model_identities(config)},  # of the hub what is fetched by now
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Loaded:
    """What the phases leave for the steps."""

    hashes: Sequence[ModelHashes]  # looked for meanwhile
    ready: Prepared
    models: Models
    network: Network


def _load(plan: Plan) -> _Loaded:
    """Go through the phases: text, VAE, denoiser."""
    hashes = model_hashes(plan.config, wanted=plan.processes.main)
    ready, still = ready_data(plan), _still_entries(plan)
    models = plan.loading.models(*_parts_of_steps(plan))
    trained, _ = _network(plan, models, run_targets(plan.hook, models, plan.config))
    network = Network([*still, *trained.entries])
    _attach(plan, network, models)
    return _Loaded(hashes, ready, models, network)


def _snapshots(network: Network, ema: Ema | None) -> Snapshots:
    return Snapshots(network, () if ema is None else ema.averages)


def _history(plan: Plan, length: Length) -> History:
    lag = 0 if plan.processes.device.type == "cpu" else LAG  # the CPU has nothing to wait for
    return History(length.steps_per_epoch, lag, plan.processes.gather)


def _progress(plan: Plan, images_per_step: float, steps: int) -> Progress:
    return Progress(steps, images_per_step, plan.config[LoggingOptions], shown=plan.processes.main)


def adapters_for(
    hook: pluggy.HookRelay,
    targets: Sequence[LoraTarget],
    config: Config,
    seed: int,
    weights: Mapping[str, Tensor] | None,
) -> Network:
    """Return the network over these targets; each adapter starts from (seed, key), whatever stands beside it."""

    def build(target: LoraTarget, own: Mapping[str, Tensor] | None) -> Adapter | None:
        torch.manual_seed(derive_seed(seed, "init", target.key))
        adapter: Adapter | None = hook.build_adapter(target=target, weights=own, config=config)
        return adapter

    from_file = config[NetworkOptions].dim_from_weights
    chosen = [target for target in targets if trains(target.part, config) and (from_file or target.rank != 0)]
    source = config[NetworkOptions].network_weights or ""
    return build_network(chosen, build, weights if from_file else None, source)


def _header(plan: Plan, loaded: _Loaded, values: Mapping[str, str]) -> Header:
    """Return what saved files say; tags are counted in the background, which takes seconds for a million captions."""
    index, held_out = loaded.ready.loader.index, len(plan.scanned.validation)
    data = sought(partial(dataset_metadata, index, plan.datasets, held_out), "tags") if plan.processes.main else None
    slow = [*(one.metadata for one in loaded.hashes), *([] if data is None else [data.result])]
    resolution = max((dataset.resolution for dataset in plan.datasets), key=math.prod)
    return Header(plan.config, values, slow, resolution, plan.session)


def _metadata(plan: Plan, models: Models, network: Network, moved_by: Moving, length: Length) -> Mapping[str, str]:
    """Return what every file of the run says in its header, but for what is looked for in the background."""
    named = describe(moved_by.optimizer, optimizer_arguments(plan.config[TrainingOptions]))
    return {
        **run_metadata(plan.config, network, length, plan.seed, named),
        **single_data_metadata(plan.config, plan.processes.count),
        **base_weights_metadata(plan.config),
        **plan.hook.file_metadata(models=models, config=plan.config),
    }


def trains_text(config: Config) -> bool:
    """Tell whether text encoders train, so that their captions are encoded in every step."""
    return not config[NetworkOptions].network_train_unet_only


def trained_kinds(config: Config) -> tuple[Part, ...]:
    """Return the parts whose layers may get adapters."""
    denoiser: tuple[Part, ...] = () if config[NetworkOptions].network_train_text_encoder_only else ("denoiser",)
    return (*denoiser, "text") if trains_text(config) else denoiser


def _parts_of_steps(plan: Plan) -> tuple[Part, ...]:
    """Return the parts that steps need."""
    vae: tuple[Part, ...] = () if caches_latents(plan.config) else ("vae",)
    return ("denoiser", *plan.text.live, *vae)


def _still_entries(plan: Plan) -> list[Entry]:
    """Return the adapters of cached text encoders, for the file alone; they hold none of the encoders' layers."""
    if not plan.text.still:
        return []
    parts = plan.text.still if plan.text.live else plan.text.cached  # one by one only where that cannot be helped
    models = plan.loading.models(*parts)  # some kinds of adapters start from the weights
    targets = [one for one in run_targets(plan.hook, models, plan.config) if one.part in plan.text.still]
    network = adapters_for(plan.hook, targets, plan.config, plan.seed, None)
    found = [Entry(replace(entry.target, layers=()), entry.adapter) for entry in network.entries]
    del models, targets, network
    free_memory(plan.config)
    return found


def _network(plan: Plan, models: Models, targets: Sequence[LoraTarget]) -> tuple[Network, int]:
    """Return the network for these layers, and how many of its modules start from a file."""
    config, found = plan.config, 0
    weights = placed_weights(plan.hook, models, config, plan.weights, targets)
    network = adapters_for(plan.hook, targets, config, plan.seed, weights)
    if weights is not None:
        own = config[NetworkOptions]
        found = network.load(weights, own.network_weights or "", own_ranks=not own.dim_from_weights)
    if not network.entries:
        raise _no_place(targets)
    return network, found


def _no_place(targets: Sequence[LoraTarget]) -> LoracoreError:
    message = "the network has no place in this model"
    if targets and all(target.rank == 0 for target in targets):
        message = "the options leave out every layer of this model that could be trained"
        return LoracoreError(message, where="--network_args", fix="train more blocks, or give a rank above 0")
    return LoracoreError(message, where="--network_module", fix="look at `loracore targets`")


def _attach(plan: Plan, network: Network, models: Models) -> None:
    """Put the network in front of the models' layers, ready to train."""
    network.modules.to(plan.processes.device, trained_dtype(plan.config[ModelOptions]))
    network.modules.train()
    spare_activations(models, plan.config)
    if plan.processes.sharding is not None:
        shard_blocks(models, plan.processes.device, plan.processes.count, plan.processes.sharding)
    network.attach()
