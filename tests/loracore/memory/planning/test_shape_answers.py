from __future__ import annotations

import torch

from loracore.memory.planning.live_storages import LiveStorages
from loracore.memory.planning.shape_answers import ShapeAnswers

META = torch.device("meta")
ADD = torch.ops.aten.add.Tensor


class Counted:
    """An operation that counts its calls."""

    _schema, tags = ADD._schema, ADD.tags  # as torch has them

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *args: torch.Tensor, alpha: float = 1) -> torch.Tensor:
        self.calls += 1
        found: torch.Tensor = ADD(*args, alpha=alpha)
        return found


def test_an_operation_is_computed_once_for_its_shapes() -> None:
    answers, counted = ShapeAnswers(), Counted()
    row, column = torch.zeros(1, 3, device=META), torch.zeros(4, 1, device=META, dtype=torch.float64)
    found = [answers.answer(counted, (row, column), {}) for _ in range(3)]
    assert (counted.calls, len({id(one) for one in found})) == (1, 3)
    assert all((one.shape, one.dtype, one.is_meta) == ((4, 3), torch.float64, True) for one in found)
    answers.answer(counted, (row, column), {"alpha": 1})
    answers.answer(counted, (row, column), {"alpha": 1.0})
    answers.answer(counted, (column, column), {})
    assert counted.calls == 4


def test_what_is_changed_or_viewed_stays_the_same_storage() -> None:
    with LiveStorages("meta") as live:
        made = torch.zeros(2, 8, device=META)
        unsafe = torch.ops.aten._unsafe_view  # its schema does not say that it is a view
        held = [made.add_(1), made.view(16), made.transpose(0, 1), unsafe(made, [16]), unsafe(made, [16])]
        assert live.bytes == 64
        assert [tuple(one.shape) for one in held] == [(2, 8), (16,), (8, 2), (16,), (16,)]
        assert made.squeeze_(0) is made
