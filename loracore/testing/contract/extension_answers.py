"""What an extension's hooks make of the answers of others, asked with what a run of the toys asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pluggy
from torch import Tensor

from loracore import hookspecs
from loracore.config.datasets import read_datasets
from loracore.hookspecs import hookimpl
from loracore.noise.rng import SampleRng
from loracore.testing.contract.annotations import accepts_answer
from loracore.testing.contract.faults import Fault, any_error_is, gathered
from loracore.testing.contract.module_checks import implementations
from loracore.testing.contract.probing import copied, differing, generator_states, global_seed, tensors_in
from loracore.testing.contract.reruns import broken_off
from loracore.testing.contract.subject import Subject
from loracore.training.train import train
from loracore.types import Batch, Latents, NoisyBatch, Prediction, TextConditioning

_STAGES = (Batch, Latents, NoisyBatch, Prediction, TextConditioning)
_PURE = "answer by the arguments alone, and draw from rng in the hooks that have one"
#: Hooks that make modules may draw from global generators: weights come from elsewhere, or the core seeds them.
_BUILDING = frozenset({"load_models", "build_adapter"})
_MARK = "loracore_impl"  # what `hookimpl` leaves on a function


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of a hook in a run without the extension, and what was answered."""

    hook: str
    arguments: Mapping[str, Any]
    answer: Any


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """What a hook answered with the extension, and what it was given."""

    answer: Any
    written: Sequence[str]  # paths of tensors that it wrote into
    drew: bool  # from a global generator


def is_wrapper(implementation: Callable[..., Any]) -> bool:
    """Tell whether a hook's implementation stands around the answers of others."""
    options = vars(implementation)[_MARK]
    return bool(options["wrapper"] or options["hookwrapper"])


def answer_faults(subject: Subject) -> Iterator[Fault]:
    """Give the faults of every hook that the extension answers or wraps and a run of the toys calls."""
    own = implementations(subject)
    for call in _calls(subject).values():
        if call.hook in own:
            yield from gathered(partial(_of_call, subject, call, wrapped=is_wrapper(own[call.hook])))


def _calls(subject: Subject) -> Mapping[str, Call]:
    """Return the first call of each hook in a run of the same options without the extension.

    Raises CannotGoOn when that run breaks off: then something is wrong with these options.
    """
    request, found = subject.request(output_name="without"), dict[str, Call]()
    request.plugins.unregister(subject.module)

    def after(outcome: pluggy.Result[Any], hook: str, _: object, arguments: Mapping[str, Any]) -> None:
        if hook not in found and vars(request.plugins.hook)[hook].spec.opts["firstresult"]:
            found[hook] = Call(hook, dict(arguments), outcome.get_result())

    request.plugins.add_hookcall_monitoring(lambda *_: None, after)
    with any_error_is(partial(broken_off, subject)):
        train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    return found


def _of_call(subject: Subject, call: Call, *, wrapped: bool) -> Iterator[Fault]:
    with any_error_is(partial(subject.raised, call.hook, "mend this line")):
        first, second = (_asked(subject, call, seed) for seed in (1, 2))
    problem = _missing(call, first.answer, wrapped=wrapped) or _misshapen(call, first.answer)
    if problem is not None:
        yield subject.fault(call.hook, *problem)
    if first.written:
        message = f"writes into what it is given: {', '.join(first.written)}"
        yield subject.fault(call.hook, message, "make a new tensor or stage: dataclasses.replace(stage, name=…)")
    if first.drew and call.hook not in _BUILDING:
        yield subject.fault(call.hook, "draws from a global generator", _PURE)
    elif (
        not first.written
        and problem is None
        and differing(first_tensors := tensors_in(first.answer), tensors_in(second.answer))
    ):
        names = ", ".join(name or "the answer" for name in first_tensors)
        message = (
            f"asked twice for the same, it answers differently ({names}): by a global generator, or by calls before"
        )
        yield subject.fault(call.hook, message, _PURE)


def _asked(subject: Subject, call: Call, seed: int) -> Asked:
    """Return the extension's answer where somebody else answers what was answered without it."""
    given = {name: _rebuilt(value) for name, value in call.arguments.items()}
    if "rng" in given and "batch" in given:
        given["rng"] = SampleRng(1, call.hook, 0, range(len(given["batch"].ids)))
    below = _rebuilt(call.answer)
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    manager.register(SimpleNamespace(**{call.hook: hookimpl(lambda: below)}))
    manager.register(subject.module)
    seen = {**given, "the answer below": below}
    before = copied(seen)
    with global_seed(seed):
        stood = generator_states()
        answer = vars(manager.hook)[call.hook](**given)
        drew = generator_states() != stood
    return Asked(answer, differing(before, tensors_in(seen)), drew)


def _rebuilt(value: Any) -> Any:
    """Return a value with copies of its tensors; what asks for a gradient may be written into, as in a run."""
    if isinstance(value, Tensor):
        copy = value.detach().clone()
        return copy.requires_grad_() * 1 if value.requires_grad else copy
    if isinstance(value, _STAGES) and is_dataclass(value):
        return replace(value, **{field.name: _rebuilt(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, dict):
        return {key: _rebuilt(one) for key, one in value.items()}
    return value


def _missing(call: Call, answer: Any, *, wrapped: bool) -> tuple[str, str] | None:
    """Return what is wrong with the kind of an answer, and the cure."""
    if isinstance(answer, type(call.answer)) or accepts_answer(call.hook, answer):
        return None
    if answer is None and wrapped:
        return "it yields but returns None", "return the answer: `answer = yield`, then `return answer`"
    found = "None" if answer is None else type(answer).__name__
    asked = vars(hookspecs)[call.hook].__annotations__["return"]
    return f"returns {found} where {asked} is asked for", f"return {asked}, as its specification says"


def _misshapen(call: Call, answer: Any) -> tuple[str, str] | None:
    """Return what is wrong with the tensors of an answer, and the cure."""
    found = tensors_in(answer)
    for path, plain in tensors_in(call.answer).items():
        name = path or "the answer"
        if path not in found:
            return f"'{name}' is missing", "return everything that the answer below has"
        one = found[path]
        if one.shape != plain.shape:
            message = f"{name} has shape {list(one.shape)}, where {list(plain.shape)} is asked for"
            return message, "return tensors of the shapes that the hook's specification says"
        if not one.isfinite().all():
            return f"{name} holds NaN or infinity", "return finite numbers"
        if plain.requires_grad and not one.requires_grad:
            return f"{name} has lost its gradient", "let it depend on the answer below without detach() and no_grad"
    return _out_of_range(call.hook, answer)


def _out_of_range(hook: str, answer: Any) -> tuple[str, str] | None:
    if hook == "loss_weighting" and bool((answer < 0).any()):
        return "a factor is below 0: the loss would be climbed", "return factors of 0 and above"
    if hook == "draw_timesteps" and not bool(((answer >= 0) & (answer <= 1000)).all()):  # noqa: PLR2004  # the scale
        return "a timestep is outside of 0 to 1000", "stay on the scale of the core"
    return None
