from __future__ import annotations

import torch

from loracore.noise.rng import SampleRng, derive_seed, hashed_uniform, sent


def test_a_sample_draws_the_same_in_any_batch() -> None:
    together = SampleRng(1, "noise", 0, [5, 6, 7, 8]).normal(2, 3)
    apart = [SampleRng(1, "noise", 0, part).normal(2, 3) for part in ([5, 6], [7, 8])]
    assert torch.equal(together, torch.cat(apart))


def test_seed_stream_epoch_and_position_all_matter() -> None:
    draws = [
        SampleRng(*key).normal(4).flatten().tolist()
        for key in [(1, "a", 0, [0]), (2, "a", 0, [0]), (1, "b", 0, [0]), (1, "a", 1, [0]), (1, "a", 0, [1])]
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_integers_stay_in_their_range() -> None:
    found = SampleRng(0, "t", 0, range(200)).integers(3, 6)
    assert set(found.tolist()) == {3, 4, 5}


def test_uniform_numbers_stay_below_one() -> None:
    found = SampleRng(0, "u", 0, range(50)).uniform(4)
    assert found.shape == (50, 4)
    assert ((found >= 0) & (found < 1)).all()


def test_seeds_fit_a_generator() -> None:
    assert 0 <= derive_seed("anything", 7) < 2**63


def test_hashed_numbers_are_uniform_and_unrelated() -> None:
    found = hashed_uniform(torch.arange(8) * 12345, 50_000)
    assert found.min() >= 0
    assert found.max() < 1
    counts = torch.histc(found, bins=20, min=0, max=1)
    assert (counts / 20_000 - 1).abs().max() < 0.05  # five standard deviations of a bin
    rows = torch.corrcoef(torch.cat([found, found.roll(1, dims=1)]))
    assert (rows - torch.eye(16)).abs().max() < 0.03


def test_a_hashed_row_depends_on_its_seed_alone() -> None:
    seeds = torch.tensor([1, 2**32 - 1, 7])
    assert torch.equal(hashed_uniform(seeds, 10)[2], hashed_uniform(seeds[2:], 20)[0, :10])


def test_samples_draw_as_much_as_each_needs() -> None:
    together = SampleRng(1, "n", 0, [4, 7]).normals([3, 5])
    assert [len(numbers) for numbers in together] == [3, 5]
    assert torch.equal(together[1], SampleRng(1, "n", 0, [7]).normals([5])[0])


def test_what_stays_on_the_host_is_not_copied() -> None:
    tensor = torch.ones(3)
    assert sent(tensor, "cpu") is tensor
