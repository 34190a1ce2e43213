"""A training step gone through on the meta device, under one treatment of the blocks after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from torch import nn

from loracore.config.options import PluginOptions, TrainingOptions
from loracore.memory.block_swap import rotating_places, slots_size
from loracore.memory.block_weights import size_in_slot
from loracore.memory.checkpointing import checkpoint_blocks
from loracore.memory.fitting import spare_activations
from loracore.memory.planning.block_counts import BLOCKS, BlockCount, counted_blocks, put_back
from loracore.memory.planning.live_storages import LiveStorages
from loracore.memory.planning.peaks import (
    ADAPTERS,
    AVERAGE,
    BACKWARD,
    COPIES,
    GRADIENTS,
    OPTIMIZER,
    SLOTS,
    UPDATE,
    WEIGHTS,
    Phase,
    StepCount,
)
from loracore.memory.planning.shape_answers import ShapeAnswers
from loracore.memory.planning.treatment import Treatment
from loracore.memory.planning.without_numbers import without_scores
from loracore.training.planning.blaming import not_gone_through, of_architecture
from loracore.training.planning.encoding import Encoded, named
from loracore.training.planning.largest_batch import LargestBatch
from loracore.training.planning.on_meta import META, OnMeta
from loracore.training.planning.optimizer_size import OptimizerSize, optimizer_size, update_size
from loracore.training.steps.step import PRESERVING, Forward
from loracore.types import DENOISER, Examples, Framing, Models

_AROUND = "kept around blocks"


@dataclass(frozen=True, eq=False)
class Stepping:
    """What steps are made of; the network is attached to the models."""

    run: OnMeta
    batch: LargestBatch
    encoded: Encoded
    grain: int
    waits: bool  # whether the host waits for the device in every step
    _counted: dict[Treatment, StepCount] = field(default_factory=dict)
    _answers: ShapeAnswers = field(default_factory=ShapeAnswers)

    @cached_property
    def models(self) -> Models:
        """The parts that steps need."""
        vae = ("vae",) if self.encoded.images is not None else ()
        return self.run.of(("denoiser", *self.run.plan.text.live, *vae))

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Those of the denoiser."""
        return self.models.blocks.get(DENOISER, ())

    def count(self, treatment: Treatment) -> StepCount:
        """Return a step's peak under a treatment; each is gone through once."""
        if treatment not in self._counted:
            alike = replace(treatment, swapped=0)
            if treatment.swapped and treatment.checkpoints_all and not treatment.inputs_on_host:
                # A swapped block is computed again like all others: only the weights make a difference.
                step = self.count(alike)
                parts = Counter(step.phase.parts)
                parts.update(self.spared(treatment.swapped))
                found = replace(step, treatment=treatment, phase=Phase(step.phase.name, parts))
            else:
                found = self._gone_through(treatment)
            self._counted[treatment] = found
        return self._counted[treatment]

    def spared(self, swapped: int) -> dict[str, int]:
        """Return by how much swapped blocks change the weights on the device: by part, less is below 0."""
        if not swapped:
            return {}
        places = rotating_places(len(self.blocks), swapped)
        waiting = sum(size_in_slot(self.blocks[place]) for place in places)
        return {WEIGHTS: -waiting, SLOTS: slots_size(self.blocks, swapped)}

    def _gone_through(self, treatment: Treatment) -> StepCount:
        live = self._holding(treatment)
        forward = Forward(self.run.plan.hook, self.models, self.run.plan.config, META, 0, self.run.network)
        with self._treated(treatment), self._marked(live), counted_blocks(self.blocks, live) as counts, live:
            self._forward_and_back(forward, live)
        parts = named(live, _AROUND)
        for parameter in self.run.network.modules.parameters():
            parameter.grad = None
        return StepCount(treatment, self._with_update(Phase("steps", parts)), self._all_of(counts), live.flops)

    def _all_of(self, counts: Mapping[int, BlockCount]) -> Sequence[BlockCount]:
        """Return the counts in the order of the blocks; raises LoracoreError where a step does not call one."""
        idle = [str(place) for place in range(len(self.blocks)) if place not in counts]
        if idle:
            arch = self.run.plan.config[PluginOptions].arch
            numbers = ", ".join(idle)
            raise not_gone_through(f"{arch} names blocks of its denoiser that a step does not call: {numbers} (from 0)")
        return [counts[place] for place in range(len(self.blocks))]

    def _holding(self, treatment: Treatment) -> LiveStorages:
        """Return what is alive before a step."""
        live = LiveStorages(META.type, self.grain, self._answers)
        live.hold(self.run.on_device(self.models), WEIGHTS)
        for part, size in self.spared(treatment.swapped).items():
            live.hold_bytes(size, part)
        self.hold_training(live)
        live.forget_peak()
        return live

    def hold_training(self, live: LiveStorages) -> None:
        """Count what stays on the device between steps beside the models."""
        run = self.run
        live.hold(run.network.modules.parameters(), ADAPTERS)
        live.hold_bytes(self.optimizer.size, OPTIMIZER)
        if run.plan.config[TrainingOptions].use_ema:
            live.hold_bytes(4 * sum(one.numel() for group in run.groups for one in group.parameters), AVERAGE)

    @cached_property
    def optimizer(self) -> OptimizerSize:
        """Its state."""
        return optimizer_size(self.run.groups, self.run.plan.config[TrainingOptions])

    def _forward_and_back(self, forward: Forward, live: LiveStorages) -> None:
        """Compute one batch, or two where a second one finds the gradients of a first."""
        examples, network = self._examples(), self.run.network
        training = self.run.plan.config[TrainingOptions]
        network.scale_outputs(self.batch.multiplier)
        for _ in range(min(training.gradient_accumulation_steps, 2)):
            network.draw_masks(forward.adapter_rng(examples))
            with of_architecture(self.run.plan.config), self._copied(live):
                losses = forward.losses(examples)
                with live.part(BACKWARD):
                    losses.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
                del losses
        network.scale_outputs(1.0)

    @contextmanager
    def _copied(self, live: LiveStorages) -> Iterator[None]:
        """Have the factors copied as the run's loop has them."""
        with ExitStack() as copied:
            if not self.run.plan.config[TrainingOptions].fused_backward_pass:
                with live.part(COPIES):
                    copied.enter_context(self.run.network.prepared())
            yield

    def _examples(self) -> Examples:
        batch, encoded = self.batch, self.encoded
        framing = Framing(batch.size, batch.size, (0, 0), batch.size)
        return Examples(
            ids=("",) * batch.samples,
            epoch=0,
            positions=tuple(range(batch.samples)),
            captions=("a picture",) * batch.samples,
            framings=(framing,) * batch.samples,
            loss_weights=(1.0,) * batch.samples,
            images=encoded.images,
            latents=encoded.latents,
            conditioning=encoded.conditioning,
            attributes=({PRESERVING: batch.preserves},) * batch.samples,
        )

    @contextmanager
    def _treated(self, treatment: Treatment) -> Iterator[None]:
        """Let blocks forget their activations as a run would let them."""
        every = [block for blocks in self.models.blocks.values() for block in blocks]
        before = [(block, vars(block).get("forward")) for block in every]
        for block in every:
            block.forward = partial(without_scores, block.forward)
        if treatment.swapped:
            places = rotating_places(len(self.blocks), treatment.swapped)
            checkpoint_blocks(self.blocks[place] for place in places)
        spare_activations(self.models, treatment.applied(self.run.plan.config))
        try:
            yield
        finally:
            for block, forward in before:
                put_back(block, forward)

    @contextmanager
    def _marked(self, live: LiveStorages) -> Iterator[None]:
        """Count gradients as such; where the optimizer uses each at once, none stays."""
        fused = self.run.plan.config[TrainingOptions].fused_backward_pass

        def mark(parameter: nn.Parameter) -> None:
            if parameter.grad is not None:
                live.give(parameter.grad, GRADIENTS)
            if fused:
                parameter.grad = None

        trained = [one for group in self.run.groups for one in group.parameters]
        handles = [
            one.register_post_accumulate_grad_hook(mark)  # type: ignore[no-untyped-call]  # torch's own
            for one in trained
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _with_update(self, phase: Phase) -> Phase:
        """Return the peak of the whole step: that of the optimizer's, where that takes more."""
        training, groups = self.run.plan.config[TrainingOptions], self.run.groups
        if training.fused_backward_pass:  # no gradient stands when it is over
            return phase
        gradients = sum(one.nbytes for group in groups for one in group.parameters)
        standing = {name: size for name, size in phase.parts.items() if name not in {BLOCKS, _AROUND, BACKWARD, COPIES}}
        extra = update_size(groups, training, self.optimizer.size, waits=self.waits)
        updating = Phase(phase.name, {**standing, GRADIENTS: gradients, UPDATE: extra})
        return max(phase, updating, key=lambda one: one.peak)
