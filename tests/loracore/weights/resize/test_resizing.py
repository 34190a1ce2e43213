"""A resized LoRA is the nearest of its ranks, strength kept; what cannot be resized is refused before writing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.weights.factors import block_diagonal
from loracore.weights.headers import read_header
from loracore.weights.network_file import NetworkFile
from loracore.weights.resize.new_ranks import Dynamic, NewRanks
from loracore.weights.resize.resizing import Output, Resized, resize
from tests.loracore.weights.network_files import CONV, LINEAR, TEXT, change, lora, pair, write

FOUR = NewRanks(4, 2, None)


@dataclass(frozen=True, slots=True)
class Made:
    """A resized file, read again."""

    tensors: dict[str, Tensor]
    modules: dict[str, Resized]
    metadata: dict[str, str] = field(default_factory=dict)


def resized(
    folder: Path,
    tensors: Mapping[str, Tensor],
    ranks: NewRanks = FOUR,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Made:
    path = folder / "small.safetensors"
    found = resize(write(folder / "lora.safetensors", tensors, metadata), Output(path, dtype), ranks)
    return Made(load_file(path), {one.module.name: one for one in found}, dict(read_header(path).metadata))


def nearest(matrix: Tensor, rank: int) -> Tensor:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found: Tensor = (left[:, :rank] * values[:rank]) @ right[:rank]
    return found


@pytest.mark.parametrize(("key", "rank"), [(LINEAR, 4), (CONV, 2), (TEXT, 4)])
def test_the_change_is_the_nearest_of_its_rank(tmp_path: Path, key: str, rank: int) -> None:
    before, made = lora(), resized(tmp_path, lora())
    exact = change(before, key)
    assert torch.allclose(change(made.tensors, key), nearest(exact, rank), atol=1e-5)
    assert len(made.tensors[f"{key}.lora_down.weight"]) == rank
    kept = float(nearest(exact, rank).norm() / exact.norm())
    assert made.modules[key].kept == pytest.approx(kept, abs=1e-6)
    assert made.modules[key].norm == pytest.approx(float(exact.norm()), rel=1e-5)


def test_alpha_is_the_old_scale_times_the_new_rank(tmp_path: Path) -> None:
    made = resized(tmp_path, lora())
    assert float(made.tensors[f"{LINEAR}.alpha"]) == pytest.approx(3.0 / 6 * 4)
    assert float(made.tensors[f"{CONV}.alpha"]) == pytest.approx(5.0 / 5 * 2)


def test_factors_are_the_fields(tmp_path: Path) -> None:
    tensors, made = lora(), resized(tmp_path, lora())
    down, up = made.tensors[f"{LINEAR}.lora_down.weight"], made.tensors[f"{LINEAR}.lora_up.weight"]
    values = torch.linalg.svdvals(tensors[f"{LINEAR}.lora_up.weight"] @ tensors[f"{LINEAR}.lora_down.weight"])
    assert torch.allclose(down @ down.T, torch.eye(4), atol=1e-5)
    assert torch.allclose(up.norm(dim=0), values[:4], atol=1e-4)


def test_a_rank_that_is_not_smaller_leaves_the_module_as_it_is(tmp_path: Path) -> None:
    made = resized(tmp_path, lora())
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in lora().items() if name.startswith(TEXT))
    made = resized(tmp_path, lora(), NewRanks(64, 64, None))
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in lora().items())


def test_dynamic_ranks_follow_the_values_of_the_whole_matrix(tmp_path: Path) -> None:
    tensors = lora()
    made = resized(tmp_path, tensors, NewRanks(64, 64, Dynamic("sv_fro", 0.9)))
    for key in (LINEAR, CONV, TEXT):
        squares = torch.linalg.svdvals(change(tensors, key)).square()
        needed = int((squares.cumsum(0) / squares.sum() < 0.9**2).sum()) + 1
        assert made.modules[key].rank == min(needed + 1, made.modules[key].old_rank)
        assert made.modules[key].kept >= 0.9


def test_a_module_that_changes_nothing_keeps_one_rank(tmp_path: Path) -> None:
    tensors = lora()
    tensors[f"{LINEAR}.lora_up.weight"].zero_()
    made = resized(tmp_path, tensors)
    assert (made.modules[LINEAR].rank, made.modules[LINEAR].kept) == (1, 1.0)
    assert not change(made.tensors, LINEAR).any()


def test_a_file_without_alpha_means_the_same_without_it(tmp_path: Path) -> None:
    tensors = pair(LINEAR, 12, 10, 6)
    made = resized(tmp_path, tensors)
    assert f"{LINEAR}.alpha" not in made.tensors
    assert torch.allclose(change(made.tensors, LINEAR), nearest(change(tensors, LINEAR), 4), atol=1e-5)


def test_a_third_factor_is_folded_into_down(tmp_path: Path) -> None:
    up, mid, down = torch.randn(8, 6, 1, 1), torch.randn(6, 6, 3, 3), torch.randn(6, 7, 1, 1)
    factors = {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down, "alpha": torch.tensor(3.0)}
    exact = torch.einsum("oa,abkl,bi->oikl", up[..., 0, 0], mid, down[..., 0, 0]).flatten(1) / 2
    for rank in (3, 6):
        made = resized(tmp_path, {f"{CONV}.{name}": one for name, one in factors.items()}, NewRanks(9, rank, None))
        assert f"{CONV}.lora_mid.weight" not in made.tensors
        assert made.tensors[f"{CONV}.lora_down.weight"].shape == (rank, 7, 3, 3)
        assert torch.allclose(change(made.tensors, CONV).float(), nearest(exact, rank), atol=1e-4)


def test_magnitudes_of_dora_are_kept(tmp_path: Path) -> None:
    scale = torch.rand(1, 10)
    made = resized(tmp_path, {**lora(), f"{LINEAR}.dora_scale": scale})
    assert torch.equal(made.tensors[f"{LINEAR}.dora_scale"], scale)
    assert torch.allclose(change(made.tensors, LINEAR), nearest(change(lora(), LINEAR), 4), atol=1e-5)


def test_separate_factors_of_fused_layers_stay_right(tmp_path: Path) -> None:
    blocks = block_diagonal(list(torch.randn(3, 4, 2)))
    tensors = {f"{LINEAR}.lora_down.weight": torch.randn(6, 10), f"{LINEAR}.lora_up.weight": blocks}
    made = resized(tmp_path, tensors, NewRanks(5, 5, None))
    assert torch.allclose(change(made.tensors, LINEAR), nearest(change(tensors, LINEAR), 5), atol=1e-5)


def test_names_of_diffusers_are_kept_and_their_alpha_is_folded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "transformer.transformer_blocks.0.attn.to_q"
    down, up = torch.randn(6, 10), torch.randn(12, 6)
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    settings = {"lora_adapter_metadata": '{"transformer.r": 6, "transformer.lora_alpha": 3}'}
    for rank in (4, 6):
        made = resized(tmp_path, tensors, NewRanks(rank, rank, None), metadata=settings)
        found = made.tensors[f"{name}.lora_B.weight"] @ made.tensors[f"{name}.lora_A.weight"]
        assert torch.allclose(found, nearest(up @ down / 2, rank), atol=1e-5)
        assert set(made.tensors) == set(tensors)
        assert "lora_adapter_metadata" not in made.metadata


def test_half_precision_stays_and_its_rounding_of_alpha_changes_no_strength(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in pair(LINEAR, 64, 48, 31, 17.0).items()}
    made = resized(tmp_path, tensors, NewRanks(30, 30, None))
    exact, found = nearest(change(tensors, LINEAR), 30), change(made.tensors, LINEAR)
    assert {tensor.dtype for tensor in made.tensors.values()} == {torch.bfloat16}
    strength = float((exact * found).sum() / exact.square().sum())
    assert strength == pytest.approx(1, abs=5e-4)  # bf16 would round alpha = 16.45 to 16.5, 3e-3 too strong


def test_another_precision_is_written_on_request(tmp_path: Path) -> None:
    made = resized(tmp_path, lora(), dtype=torch.float16)
    assert {tensor.dtype for tensor in made.tensors.values()} == {torch.float16}
    large = {name: tensor * (1e6 if "up" in name else 1) for name, tensor in lora().items()}
    with pytest.raises(LoracoreError, match=r"lora_up.weight is too large for float16"):
        resized(tmp_path, large, dtype=torch.float16)


def test_hashes_are_those_that_readers_compute(tmp_path: Path) -> None:
    stale = {"sshs_model_hash": "00", "sshs_legacy_hash": "00", "ss_steps": "7"}
    made = resized(tmp_path, lora(), metadata=stale)
    content = (tmp_path / "small.safetensors").read_bytes()
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert made.metadata["sshs_model_hash"] == hashlib.sha256(tensors).hexdigest()
    assert made.metadata["sshs_legacy_hash"] == "e3b0c442"  # of nothing: the file ends before 1 MiB
    assert len(tensors) == len(save(made.tensors)) - 8 - int.from_bytes(save(made.tensors)[:8], "little")


def test_what_is_no_lora_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    other = {f"{TEXT}2.hada_w1_a": torch.rand(4, 2), f"{TEXT}2.hada_w1_b": torch.rand(2, 4)}
    with pytest.raises(LoracoreError, match=r"1 modules are no LoRA.*LoHa.*loracore convert"):
        resized(tmp_path, {**lora(), **other})


def test_files_of_peft_itself_are_refused(tmp_path: Path) -> None:
    names = {"base_model.model.q.lora_A.weight": torch.rand(2, 4), "base_model.model.q.lora_B.weight": torch.rand(4, 2)}
    with pytest.raises(LoracoreError, match=r"adapter_config.json.*loracore convert"):
        resized(tmp_path, names)


def test_settings_of_a_dora_are_refused(tmp_path: Path) -> None:
    name = "transformer.blocks.0.to_q"
    tensors = {f"{name}.lora_A.weight": torch.rand(2, 4), f"{name}.lora_B.weight": torch.rand(4, 2)}
    settings = {"lora_adapter_metadata": '{"transformer.use_dora": true}'}
    with pytest.raises(LoracoreError, match="settings of a DoRA"):
        resized(tmp_path, {**tensors, f"{name}.lora_magnitude_vector.weight": torch.rand(4)}, metadata=settings)


def test_a_number_that_is_not_finite_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    tensors = lora()
    tensors[f"{CONV}.lora_up.weight"][0, 0] = float("nan")
    with pytest.raises(LoracoreError, match=f"{CONV}.lora_up.weight"):
        resized(tmp_path, tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]


def test_factors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match=f"{LINEAR}: .* do not fit one another: the file is damaged"):
        resized(tmp_path, {**lora(), f"{LINEAR}.lora_up.weight": torch.rand(12, 5)})


def test_a_lone_factor_is_told(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in lora().items() if name != f"{LINEAR}.lora_up.weight"}
    with pytest.raises(LoracoreError, match=f"{LINEAR} has no lora_up.weight: the file is damaged"):
        resized(tmp_path, tensors)


def test_one_module_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    read = NetworkFile.read

    def counted(self: NetworkFile, names: list[str]) -> dict[str, Tensor]:
        nonlocal largest
        found = read(self, names)
        largest = max(largest, sum(tensor.nbytes for tensor in found.values()))
        return found

    monkeypatch.setattr(NetworkFile, "read", counted)
    tensors = {name: one for number in range(20) for name, one in pair(f"lora_unet_a_{number}", 8, 8, 4, 1.0).items()}
    resized(tmp_path, tensors)
    assert largest == (8 * 4 * 2 + 1) * 4
