from __future__ import annotations

import pytest

from loracore.speed.cuda_recording import first_reason


def test_the_reason_of_a_broken_recording_is_its_first_error() -> None:
    """Ending a recording that broke off fails with an error of its own."""

    def breaks_off() -> None:
        try:
            message = "operation not permitted when stream is capturing\nmore for developers"
            raise RuntimeError(message)
        finally:
            message = "operation failed due to a previous error during capture"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="previous error") as caught:
        breaks_off()
    assert first_reason(caught.value) == "operation not permitted when stream is capturing"
