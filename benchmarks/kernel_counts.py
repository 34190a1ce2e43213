"""Counts the operations of one training step: ours, beside the plain style of a LoRA on every Linear.

Full-size models are made on the meta device, which computes shapes and no numbers: the same operations are asked for as
on a card, and the count is the same on every machine. Rank 16 in front of the Linears of the field's LoRA, 1024², batch
1, weights in bfloat16, factors in float32, no checkpointing: forward and backward pass, norm, clipping, one step of
AdamW. ``python -m benchmarks.kernel_counts --out FOLDER`` writes kernels.json and kernels.md there and prints the
table.

**What is counted**: operations that torch hands to a device (``TorchDispatchMode``), each once, however many kernels it
starts there. Not counted: views, allocation, and what only asks for sizes. Attention counts as on a card, one operation
forwards and one backwards (flash attention). **Plain**: what the field's formula is when it is written down, in front
of diffusers' own processors: base, down, up, two multiplications, one addition for each layer, the factors cast in each
call. Its clipping and AdamW count as few operations over lists of tensors, whatever a trainer makes of them. **Casts**
(``_to_copy``, ``copy_``) are given beside: under autocast, or with factors in bfloat16, there are others or none.
**Whole step**: ours once more, from examples in host memory on, through the plugin's and training's own functions:
draws, what is sent to the device, noise, the plugin's inputs of the model, loss and weights. Not in it: what follows a
step on the host (schedule, history, plugins' hooks), moving averages, text encoders and VAE.
**Waits**, of the whole step, are operations for which the host would wait for the card: their numbers do not exist on
the meta device, so that a step with one ends with an error here. Copies out of pageable memory are not seen.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.launches import META, Counted, FlashAttention, Launches
from benchmarks.whole_steps import losses_of_run
from loracore import Models
from loracore.cli.request import read_request
from loracore.diffusion.attention.grouping import group_attention
from loracore.diffusion.files.folders import packaged_config
from loracore.networks.network import Network
from loracore.training.assembly.run_network import adapters_for
from loracore.training.assembly.run_targets import run_targets
from loracore.training.processes import Processes
from loracore.training.updates.flat_adam import FlatAdam
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.whole_updates import Updates

RANK = 16
Style = Literal["plain", "ours"]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, and what a step at 1024² gives it."""

    arch: str
    config: tuple[str, str]  # package, file
    model: Any  # the class, of diffusers' own making
    inputs: Mapping[str, tuple[int, ...]]  # by the names of its arguments; "timestep" is of its own precision


_UNET = {"sample": (1, 4, 128, 128), "timestep": (1,), "encoder_hidden_states": (1, 77, 2048)}
_JOINT = {
    "hidden_states": (1, 16, 128, 128),
    "encoder_hidden_states": (1, 154, 4096),
    "pooled_projections": (1, 2048),
    "timestep": (1,),
}
CASES: Mapping[str, Case] = MappingProxyType(
    {
        "SDXL": Case("sdxl", ("loracore_sdxl", "unet/config.json"), UNet2DConditionModel, _UNET),
        **{
            name: Case("sd3", ("loracore_sd3", f"transformer/{file}.json"), SD3Transformer2DModel, _JOINT)
            for name, file in (("SD3 medium", "medium"), ("SD3.5 medium", "5-medium"), ("SD3.5 large", "5-large"))
        },
    }
)


def models_of(case: Case, style: Style) -> Models:
    """Return a full-size denoiser without numbers; the plain style keeps diffusers' own attention."""
    with META:
        denoiser = nn.Module.to(case.model.from_config(packaged_config(*case.config)), torch.bfloat16)
    denoiser.eval().requires_grad_(requires_grad=False)
    return Models(denoiser=denoiser, together=group_attention(denoiser) if style == "ours" else ())


def network_of(case: Case, models: Models) -> Network:
    """Return the network that a run with the field's usual options has."""
    words = ["--arch", case.arch, "--network_dim", str(RANK), "--network_alpha", "8", "--network_train_unet_only"]
    request = read_request(words)
    targets = run_targets(request.plugins.hook, models, request.config)
    return adapters_for(request.plugins.hook, targets, request.config, 0, None)


def plain_network(network: Network) -> Sequence[nn.Parameter]:
    """Put a LoRA of the plain style in front of each layer that the network adapts; return their factors."""
    parameters = []
    for entry in network.entries:
        for layer in (one for one in entry.target.layers if isinstance(one, nn.Linear)):
            down = nn.Parameter(torch.empty(RANK, layer.in_features, device=META))
            up = nn.Parameter(torch.empty(layer.out_features, RANK, device=META))
            layer.forward = partial(_plain, layer.forward, down, up)  # type: ignore[method-assign]  # as the field does
            parameters += [down, up]
    return parameters


def _plain(base: Callable[[Tensor], Tensor], down: Tensor, up: Tensor, inputs: Tensor) -> Tensor:
    multiplier, scale = 1.0, 0.5
    hidden = functional.linear(inputs, down.to(inputs.dtype))
    return base(inputs) + functional.linear(hidden, up.to(inputs.dtype)) * multiplier * scale


def loss_of(case: Case, models: Models) -> Tensor:
    """Return the loss of a step."""
    assert models.denoiser is not None
    inputs = {name: torch.empty(shape, dtype=torch.bfloat16, device=META) for name, shape in case.inputs.items()}
    inputs["timestep"] = inputs["timestep"].float()
    more: dict[str, Any] = {}
    if case.model is UNet2DConditionModel:
        sizes = {"text_embeds": (1, 1280), "time_ids": (1, 6)}
        more["added_cond_kwargs"] = {
            name: torch.empty(shape, dtype=torch.bfloat16, device=META) for name, shape in sizes.items()
        }
    output = models.denoiser(**inputs, **more, return_dict=False)[0].float()
    return functional.mse_loss(output, torch.empty_like(output))


def updates_of(parameters: Sequence[nn.Parameter]) -> Updates:
    """Return what steps a run's AdamW, after its first step, in which the state is made."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    optimizer.param_groups[0]["fused"] = True  # which torch refuses for parameters that are nowhere
    flat = FlatAdam(optimizer)
    flat.gradients(zeros=False)  # notes that there is no state yet
    for one in parameters:
        zeros = {name: torch.zeros_like(one) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[one] = {"step": torch.zeros((), device=META), **zeros}
    return Updates(optimizer, Gradients(parameters, Processes(META, 0, 1), max_norm=1.0), flat)


def clip_and_step(parameters: Sequence[nn.Parameter]) -> None:
    """Clip and step as few operations over lists, for the plain style."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # noqa: SLF001  # its public name measures one
    torch._foreach_mul_(gradients, (1.0 / (norm + 1e-6)).clamp(max=1.0))
    means, squares = ([torch.empty_like(one) for one in gradients] for _ in range(2))
    steps = [torch.empty((), device=META) for _ in gradients]
    optimizer: Any = torch._fused_adamw_  # torch's own call, as FlatAdam's
    rates = {"lr": 1e-4, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, "eps": 1e-8}
    with torch.no_grad():
        optimizer(list(parameters), gradients, means, squares, [], steps, **rates, amsgrad=False, maximize=False)


def count(name: str, style: Style) -> Counted:
    """Return the operations of one step of a model; see above for what counts."""
    case = CASES[name]
    models = models_of(case, style)
    network = network_of(case, models)
    if style == "plain":
        parameters = plain_network(network)
        with Launches() as watch, FlashAttention():
            loss_of(case, models).backward()  # type: ignore[no-untyped-call]  # torch's own
            clip_and_step(parameters)
        return _found(watch)
    return counted_step(network, models, partial(loss_of, case, models))


def count_whole(name: str) -> Counted:
    """Return the operations of one whole step of ours; see above."""
    case = CASES[name]
    models = models_of(case, "ours")
    network = network_of(case, models)
    return counted_step(network, models, losses_of_run(case.arch, RANK, models, network))


def counted_step(network: Network, models: Models, loss_of_step: Callable[[], Tensor]) -> Counted:
    """Return the operations of a step of ours, with the loss that is given."""
    network.attach(models.together)
    updates = updates_of(list(network.modules.parameters()))
    with Launches() as watch, FlashAttention():
        with network.prepared():
            loss = loss_of_step()
            updates.backward(loss)
        updates.apply(loss.detach())
    return _found(watch)


def _found(watch: Launches) -> Counted:
    return watch.counted


@dataclass(frozen=True, slots=True)
class Row:
    """What was counted of a model."""

    name: str
    plain: Counted
    ours: Counted
    whole: Counted


def rows_of(names: Sequence[str]) -> Iterator[Row]:
    """Count one model after the other."""
    for name in names:
        yield Row(name, count(name, "plain"), count(name, "ours"), count_whole(name))


def table(rows: Sequence[Row], machine: str) -> str:
    """Return the Markdown table."""
    lines = [
        f"Operations of one training step, counted on the meta device ({machine}).",
        "",
        "| model | plain | of which casts | ours | of which casts | plain / ours | whole step, ours | waits |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.name} | {row.plain.total:,} | {row.plain.casts:,} | {row.ours.total:,} | {row.ours.casts:,} "
        f"| {row.plain.total / row.ours.total:.2f} | {row.whole.total:,} | {row.whole.waits.total()} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    """Count every model, write both files, and return the exit code."""
    parser = argparse.ArgumentParser(description="Count the operations of a training step.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of kernels.json and kernels.md")
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES), help="which models to count")
    given = parser.parse_args()
    rows = list(rows_of(given.models))
    machine = f"torch {torch.__version__}, Python {platform.python_version()}"
    report = {
        row.name: {
            style: dict(one.launches.most_common())
            for style, one in (("plain", row.plain), ("ours", row.ours), ("whole", row.whole))
        }
        for row in rows
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "kernels.json").write_text(json.dumps({"machine": machine, **report}, indent=2), encoding="utf-8")
    (given.out / "kernels.md").write_text(table(rows, machine), encoding="utf-8")
    print(table(rows, machine), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
