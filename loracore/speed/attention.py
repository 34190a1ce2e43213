"""Which kernels compute attention on CUDA: fused ones, and the unfused path never without a word.

The unfused path ("math") keeps the whole matrix of scores, T·T numbers a head: several times the time and the memory.
torch takes it silently where no fused kernel fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from loracore.speed.news import News

Found = TypeVar("Found")
Wanted = Literal["auto", "flash", "mem_efficient", "cudnn"]

#: What torch says when none of the kernels that are allowed fits.
_NONE_FITS = re.compile(r"No (available kernel|viable backend)")


def lacks_kernel(error: BaseException) -> bool:
    """Tell whether an error says that no attention kernel which is allowed fits."""
    return _NONE_FITS.search(str(error)) is not None


def fused_backends(wanted: Wanted) -> Sequence[SDPBackend]:
    """Return the fused kernels, the wanted one first."""
    named = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "mem_efficient": SDPBackend.EFFICIENT_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
    }
    return list(named.values()) if wanted == "auto" else [named.pop(wanted), *named.values()]


class Attention:
    """Allows fused kernels alone, until one call finds none that fits; then says so, and allows the unfused path too.

    ``allowed`` is None on devices where nothing is chosen.
    """

    def __init__(self, allowed: Sequence[SDPBackend] | None, news: News, *, ordered: bool, told: bool = True) -> None:
        self._allowed = None if allowed is None else list(allowed)
        self._news = news
        self._ordered = ordered  # whether torch is to try them in this order
        self._told = told  # whether calls may be watched: code that is compiled must not be

    @classmethod
    def on(cls, device: torch.device, wanted: Wanted, news: News, *, compiled: bool) -> Attention:
        """Return the choice for a device; anything but CUDA is left alone."""
        allowed = fused_backends(wanted) if device.type == "cuda" else None
        return cls(allowed, news, ordered=wanted != "auto", told=not compiled)

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Have forward and backward pass choose among the allowed kernels, as long as this lasts."""
        if self._allowed is None:
            yield
            return
        with sdpa_kernel(self._allowed, set_priority=self._ordered):
            yield

    def tried(self, call: Callable[[], Found]) -> Found:
        """Return what a forward pass inside `chosen` returns; it is called again if no kernel fits in it."""
        if self._allowed is None or SDPBackend.MATH in self._allowed:
            return call()
        try:
            return call()
        except RuntimeError as error:
            if not lacks_kernel(error):
                raise
        return self._watched(call)

    def _watched(self, call: Callable[[], Found]) -> Found:
        """Allow the unfused path from here on, and say which call needs it."""
        assert self._allowed is not None
        self._allowed.append(SDPBackend.MATH)
        watch = _Watch()
        try:
            if self._told:
                with watch:
                    return call()
            torch.backends.cuda.enable_math_sdp(enabled=True)
            return call()
        finally:  # also where the unfused path runs out of memory: this is why
            self._news.say(
                f"attention: no fused kernel fits{watch.needing}: it is computed unfused, slower, in more memory"
            )


class _Watch(TorchFunctionMode):
    """Finds the first call of attention that no fused kernel fits, and allows the unfused path for it and the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.needing = ""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what any function of torch returns."""
        named = dict(kwargs or {})
        if func is not scaled_dot_product_attention or self.needing:
            return func(*args, **named)
        try:
            return func(*args, **named)
        except RuntimeError as error:
            if not lacks_kernel(error):
                raise
        self.needing = f" {_described(*args, **named)}"
        torch.backends.cuda.enable_math_sdp(enabled=True)
        return func(*args, **named)


def _described(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any) -> str:
    mask = "no mask" if attn_mask is None else f"a mask of {str(attn_mask.dtype).removeprefix('torch.')}"
    sizes = sorted({query.shape[-1], key.shape[-1], value.shape[-1]})
    size = " and ".join(map(str, sizes))
    return f"{str(query.dtype).removeprefix('torch.')}, head size {size}, {mask}"
