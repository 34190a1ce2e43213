"""``memory = "auto"``: what the run's device needs is done to its blocks, before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

from loracore.config.options import MemoryOptions
from loracore.config.options.memory import GB
from loracore.errors import ConfigError
from loracore.training.assembly.plan import Plan


def with_memory(plan: Plan) -> Plan:
    """Return the plan under the cheapest treatment of its blocks that fits, and a note of it; of a rehearsed plan.

    Every process comes to the same. Raises ConfigError for a denoiser that processes share.
    """
    options = plan.config[MemoryOptions]
    if options.memory == "given":
        unused = "memory_budget is without effect: memory is given"
        return replace(plan, notes=[*plan.notes, unused]) if options.memory_budget is not None else plan
    if plan.processes.in_step:
        message = "memory = auto counts whole weights, and FSDP shares them"
        raise ConfigError(message, where=plan.config.place("memory"), fix="give gradient_checkpointing by hand")
    from loracore.training.planning.largest_batch import largest_batch  # others need not wait for what counting needs
    from loracore.training.planning.memory_plan import budget_of, memory_plan
    from loracore.training.planning.reasons import effort

    batch = largest_batch(plan.scanned.training, plan.datasets, plan.processes.count)
    found = memory_plan(plan, batch, plan.prompts)
    budget = min(plan.processes.gather([budget_of(plan.config, plan.processes.device)]))
    step = found.chosen(budget)
    needed = found.needed(step)
    said = (
        f"memory auto: {step.treatment.short}, {effort(found, step)}; {needed / GB:.2f} of {budget / GB:.2f} GB at most"
    )
    beyond = "" if needed <= budget else ", which is too much: see `loracore plan`"
    return replace(plan, config=step.treatment.applied(plan.config), notes=[*plan.notes, said + beyond, *found.notes])
