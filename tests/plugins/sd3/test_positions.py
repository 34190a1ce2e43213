from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3 import positions, prepare_batch

from loracore import Batch, Config, DataError, NoisyBatch, SampleRng, TextConditioning
from loracore.config.dataset_spec import DatasetSpec
from loracore.diffusion.positions import scaled_crop
from loracore.diffusion.steps import flow_steps
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import DENOISER, config_of, loaded

SIZE = (24, 16)  # latents: 192x128 pixels, 12x8 patches of the tiny table's 16x16


@pytest.fixture(scope="module")
def transformer(folder: Path) -> SD3Transformer2DModel:
    found = loaded(folder, DENOISER).denoiser
    assert isinstance(found, SD3Transformer2DModel)
    return found


def dataset(width: int, height: int) -> DatasetSpec:
    return DatasetSpec((width, height), 1, True, 256, 1024, 64, False, ())


def noisy_batch(config: Config, rows: int = 3, size: tuple[int, int] = SIZE, *, training: bool = True) -> NoisyBatch:
    said = TextConditioning({"context": torch.ones(rows, 2, tiny.CONTEXT), "pooled": torch.ones(rows, 40)})
    batch = Batch(("",) * rows, ("",) * rows, (), torch.zeros(rows, 16, *size), said, torch.ones(rows))
    batch = prepare_batch(batch, SampleRng(0, "prepare", 0, range(rows)), training, config)
    return flow_steps.noisy(batch, torch.zeros_like(batch.latents), torch.full((rows,), 500.0))


def heard(transformer: SD3Transformer2DModel, batch: NoisyBatch, config: Config) -> torch.Tensor:
    """The positions that the transformer adds, by its own call."""
    latents = batch.noisy_latents
    with torch.no_grad(), positions.laid(transformer, batch, config):
        embedder = transformer.pos_embed
        found: torch.Tensor = embedder(latents) - embedder.proj(latents).flatten(2).transpose(1, 2)
    return found


def test_positions_are_the_middle_of_the_files_table_by_default(transformer: SD3Transformer2DModel) -> None:
    found = heard(transformer, noisy_batch(config_of()), config_of())
    middle = transformer.pos_embed.pos_embed.reshape(16, 16, -1)[2:14, 4:12].flatten(0, 1)
    torch.testing.assert_close(found, middle.expand(3, -1, -1))


def test_each_sample_lies_elsewhere_in_training_only(transformer: SD3Transformer2DModel) -> None:
    config = config_of(pos_emb_random_crop_rate=1.0)
    plain = heard(transformer, noisy_batch(config_of()), config)
    moved = heard(transformer, noisy_batch(config), config)
    assert not torch.allclose(moved[0], moved[1])
    assert not torch.allclose(moved[0], plain[0])
    assert torch.equal(heard(transformer, noisy_batch(config, training=False), config), plain)


def test_only_a_share_of_the_samples_moves() -> None:
    batch = noisy_batch(config_of(pos_emb_random_crop_rate=0.3), rows=1000).batch
    share = (batch.conditioning[positions.CORNER][:, 0] >= 0).float().mean()
    assert share == pytest.approx(0.3, abs=0.05)


def test_a_samples_place_does_not_depend_on_its_dropout() -> None:
    rows = 4
    said = {"clip_l": (2, 16), "clip_l_pooled": (16,), "t5": (2, 48)}
    conditioning = TextConditioning({name: torch.ones(rows, *size) for name, size in said.items()})
    batch = Batch(("",) * rows, ("",) * rows, (), torch.zeros(rows, 16, 4, 4), conditioning, torch.ones(rows))
    corners = [
        prepare_batch(
            batch, SampleRng(0, "", 0, range(rows)), True, config_of(pos_emb_random_crop_rate=1.0, t5_dropout_rate=rate)
        ).conditioning[positions.CORNER]
        for rate in (0.0, 0.5)
    ]
    assert torch.equal(*corners)


@pytest.mark.parametrize(
    ("resolutions", "chosen"), [([(128, 128)], 8), ([(128, 128), (192, 192)], 8), ([(64, 64), (256, 128)], 11)]
)
def test_scaled_positions_follow_the_data_sets_resolutions(
    transformer: SD3Transformer2DModel, resolutions: list[tuple[int, int]], chosen: int
) -> None:
    config = config_of(enable_scaled_pos_embed=True).with_datasets(dataset(*size) for size in resolutions)
    found = heard(transformer, noisy_batch(config), config)
    side = int(1.5 * chosen)
    top, left = (side - 12) // 2, (side - 8) // 2
    whole = scaled_crop([chosen], (side, side), 32, None, torch.device("cpu")).reshape(side, side, 32)
    expected = whole[top : top + 12, left : left + 8].flatten(0, 1)
    torch.testing.assert_close(found, expected.expand(3, -1, -1))


def test_scaled_positions_reach_beyond_the_files_table(transformer: SD3Transformer2DModel) -> None:
    config = config_of(enable_scaled_pos_embed=True).with_datasets([dataset(256, 256)])
    assert heard(transformer, noisy_batch(config, size=(40, 16)), config).shape == (3, 20 * 8, 32)


def test_files_own_table_is_left_as_it_is(transformer: SD3Transformer2DModel) -> None:
    before = transformer.state_dict()["pos_embed.pos_embed"].clone()
    config = config_of(enable_scaled_pos_embed=True).with_datasets([dataset(128, 128)])
    heard(transformer, noisy_batch(config), config)
    assert torch.equal(transformer.state_dict()["pos_embed.pos_embed"], before)
    heard(transformer, noisy_batch(config_of()), config_of())


def test_picture_that_is_too_large_for_the_file_is_told(transformer: SD3Transformer2DModel) -> None:
    with pytest.raises(DataError, match="a picture of 128x272 is too large for this model: its positions reach 256"):
        heard(transformer, noisy_batch(config_of(), size=(34, 16)), config_of())
