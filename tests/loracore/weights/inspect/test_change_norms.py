"""Norms from factors alone are those of the whole change, made in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from loracore.weights.inspect.change_norms import change_norm, rank_of
from loracore.weights.inspect.network_modules import network_modules

Factors = dict[str, Tensor]


def norm(tensors: Factors, scale: float = 1.0) -> float | None:
    (module,) = network_modules({f"lora_unet_q.{name}": tuple(tensor.shape) for name, tensor in tensors.items()})
    return change_norm(module, tensors, scale)


def tucker(core: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return Σ left[a, o] · core[a, b, k, l] · right[b, i], as LyCORIS lays out its factors."""
    return torch.einsum("abkl,ao,bi->oikl", core, left, right)


def linear() -> tuple[Factors, Tensor]:
    up, down = torch.randn(9, 4), torch.randn(4, 5)
    return {"lora_up.weight": up, "lora_down.weight": down}, up @ down


def conv() -> tuple[Factors, Tensor]:
    up, down = torch.randn(9, 4, 1, 1), torch.randn(4, 7, 3, 3)
    return {"lora_up.weight": up, "lora_down.weight": down}, torch.einsum("oaxy,aikl->oikl", up, down)


def third_factor() -> tuple[Factors, Tensor]:
    up, mid, down = torch.randn(9, 4, 1, 1), torch.randn(4, 3, 3, 3), torch.randn(3, 7, 1, 1)
    factors = {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down}
    return factors, tucker(mid, up[..., 0, 0].T, down[..., 0, 0])


def loha() -> tuple[Factors, Tensor]:
    """Return more rows than are looked at at once."""
    first, second = (torch.randn(600, 3), torch.randn(3, 8)), (torch.randn(600, 3), torch.randn(3, 8))
    names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
    return dict(zip(names, (*first, *second), strict=True)), (first[0] @ first[1]) * (second[0] @ second[1])


def loha_conv() -> tuple[Factors, Tensor]:
    parts = [(torch.randn(2, 2, 3, 3), torch.randn(2, 9), torch.randn(2, 7)) for _ in "12"]
    factors = {
        f"hada_{name}": one
        for number, part in zip("12", parts, strict=True)
        for name, one in zip((f"t{number}", f"w{number}_a", f"w{number}_b"), part, strict=True)
    }
    return factors, tucker(*parts[0]) * tucker(*parts[1])


def lokr() -> tuple[Factors, Tensor]:
    whole, left, right = torch.randn(2, 3), torch.randn(5, 2), torch.randn(2, 4)
    return {"lokr_w1": whole, "lokr_w2_a": left, "lokr_w2_b": right}, torch.kron(whole, left @ right)


def lokr_conv() -> tuple[Factors, Tensor]:
    whole, core, left, right = torch.randn(2, 3), torch.randn(2, 2, 3, 3), torch.randn(2, 5), torch.randn(2, 4)
    factors = {"lokr_w1": whole, "lokr_t2": core, "lokr_w2_a": left, "lokr_w2_b": right}
    return factors, torch.kron(whole[..., None, None], tucker(core, left, right).contiguous())


def full() -> tuple[Factors, Tensor]:
    whole = torch.randn(5, 4)
    return {"diff": whole, "diff_b": torch.ones(5)}, whole


@pytest.mark.parametrize("case", [linear, conv, third_factor, loha, loha_conv, lokr, lokr_conv, full])
def test_the_norm_is_that_of_the_whole_change(case: Callable[[], tuple[Factors, Tensor]]) -> None:
    torch.manual_seed(0)
    factors, whole = case()
    assert norm(factors) == pytest.approx(float(whole.norm()), rel=1e-5)


def test_scale_counts_without_its_sign() -> None:
    factors, whole = linear()
    assert norm(factors, -0.5) == pytest.approx(float(whole.norm()) / 2, rel=1e-5)


def test_a_module_without_change_has_exactly_none() -> None:
    factors, _ = linear()
    assert norm({**factors, "lora_up.weight": torch.zeros(9, 4)}) == 0


def test_what_depends_on_the_base_model_has_no_norm() -> None:
    factors, _ = linear()
    assert norm({**factors, "dora_scale": torch.ones(1, 5)}) is None
    assert norm({"oft_blocks": torch.zeros(2, 4, 4)}) is None


def test_ranks_are_what_alpha_is_divided_by() -> None:
    assert [rank_of(case()[0]) for case in (linear, third_factor, loha, lokr, full)] == [4, 3, 3, 2, None]
    assert rank_of({"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(2, 2)}) is None
