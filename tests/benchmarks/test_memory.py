"""The comparison of counted with measured memory: which cases there are, and what a broken-off one leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory import TINY_SIDE, cases, main, prepare
from benchmarks.peers.architectures import architectures
from benchmarks.peers.weights import empty_denoiser


@pytest.mark.parametrize("model", ["sdxl", "sd3-medium", "sd3.5-large"])
def test_all_blocks_but_two_are_the_most_that_is_swapped(model: str) -> None:
    denoiser = empty_denoiser(architectures()[model], small=False)
    blocks = list(architectures()[model].blocks(denoiser))
    swapped = [
        int(case.words[-1])
        for case in cases(tiny=False)
        if case.model == model and "--blocks_to_swap" in case.words[-2:]
    ]
    assert max(swapped) == len(blocks) - 2


def test_cases_of_the_documents_table_are_there() -> None:
    assert {
        "sd3-medium, batch 1",
        "sdxl, batch 4, --gradient_checkpointing",
        "sdxl, batch 4, --gradient_checkpointing --blocks_to_swap 85",
        "sdxl, batch 1, --fp8_base_unet",
        "sd3.5-large, batch 1, --gradient_checkpointing --blocks_to_swap 36 --base_model_precision nf4",
    } <= set(map(str, cases(tiny=False)))


def test_what_was_broken_off_is_written_anew_and_what_is_whole_is_kept(tmp_path: Path) -> None:
    folder, architecture = tmp_path / "work", architectures()["sd3.5-medium"]
    (folder / "pictures").mkdir(parents=True)
    prepare(folder, architecture, tiny=True)
    assert len(list((folder / "pictures").glob("*.txt"))) == 4
    assert (folder / f"prepared-{TINY_SIDE}").exists()
    (folder / "model.safetensors").write_bytes(b"kept")
    prepare(folder, architecture, tiny=True)
    assert (folder / "model.safetensors").read_bytes() == b"kept"


@pytest.mark.slow
def test_a_case_that_fails_is_said_and_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").write_text("in the way", encoding="utf-8")
    words = ["--tiny", "--out", str(tmp_path), "--only", "sd3.5-medium, batch 1, --checkpointed_blocks"]
    monkeypatch.setattr(sys, "argv", ["memory", *words])
    assert main() == 1
    assert "sd3.5-medium, batch 1, --checkpointed_blocks 0 1: " in capsys.readouterr().err
