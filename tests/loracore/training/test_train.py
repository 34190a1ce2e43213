from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loracore import LoracoreError, NoisyBatch, hookimpl
from loracore.training.run import Run

TrainToy = Callable[..., Path]


class Witness:
    """Remembers what the loop tells."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.events: list[str] = []

    @hookimpl
    def step_done(self, step: int, loss: torch.Tensor) -> None:
        self.losses.append(loss.item())
        self.events.append(f"step {step}")

    @hookimpl
    def epoch_done(self, epoch: int) -> None:
        self.events.append(f"epoch {epoch}")

    @hookimpl
    def run_finished(self, step: int) -> None:
        self.events.append(f"finished {step}")


def same(one: Path, other: Path) -> bool:
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_lowers_the_loss(train_toy: TrainToy) -> None:
    witness = Witness()
    train_toy("--max_train_steps", "150", "--network_args", "conv_dim=4", plugin=witness)
    assert sum(witness.losses[-20:]) < 0.9 * sum(witness.losses[:20])


def test_events_come_in_order(train_toy: TrainToy) -> None:
    witness = Witness()
    train_toy("--max_train_epochs", "2", plugin=witness)
    assert witness.events == [
        *("step 1", "step 2", "step 3", "step 4", "epoch 1"),
        *("step 5", "step 6", "step 7", "step 8", "epoch 2", "finished 8"),
    ]


def test_the_same_seed_gives_the_same_file(train_toy: TrainToy) -> None:
    assert same(train_toy("--output_name", "a"), train_toy("--output_name", "b"))


def test_another_seed_gives_another_file(train_toy: TrainToy) -> None:
    assert not same(train_toy("--output_name", "a"), train_toy("--output_name", "b", "--seed", "2"))


def test_latents_encoded_in_every_step_train_as_cached_ones_do(train_toy: TrainToy) -> None:
    live = train_toy("--output_name", "live", "--no_cache_latents")
    assert same(train_toy("--output_name", "cached"), live)


def test_gradient_checkpointing_changes_nothing(train_toy: TrainToy) -> None:
    plain = train_toy("--output_name", "plain", "--network_dropout", "0.5")
    assert same(plain, train_toy("--output_name", "saved", "--network_dropout", "0.5", "--gradient_checkpointing"))


def test_accumulated_batches_make_one_step(train_toy: TrainToy) -> None:
    witness = Witness()
    train_toy("--gradient_accumulation_steps", "4", "--max_train_epochs", "3", plugin=witness)
    assert witness.events[-1] == "finished 3"


def test_text_encoders_train_unless_told_otherwise(train_toy: TrainToy) -> None:
    tensors = load_file(train_toy("--no_network_train_unet_only"))
    assert tensors["lora_te1_projection.lora_up.weight"].abs().sum() > 0


def test_files_are_saved_every_n_steps_and_at_the_end(train_toy: TrainToy) -> None:
    final = train_toy("--save_every_n_steps", "3", "--save_every_n_epochs", "1")
    names = sorted(path.name for path in final.parent.glob("*.safetensors"))
    assert names == [
        "toy-000001.safetensors",
        "toy-step00000003.safetensors",
        "toy-step00000006.safetensors",
        "toy.safetensors",
    ]


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_tensors_are_saved_in_the_asked_precision(train_toy: TrainToy, precision: str, dtype: torch.dtype) -> None:
    tensors = load_file(train_toy("--save_precision", precision))
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_keeps_the_network_in_float32(train_toy: TrainToy, precision: str) -> None:
    tensors = load_file(train_toy("--mixed_precision", precision))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_the_header_holds_the_fields_keys(train_toy: TrainToy) -> None:
    with safe_open(train_toy("--network_dim", "2"), "pt") as file:
        metadata = file.metadata()
    expected = {"ss_network_module": "networks.lora", "ss_network_dim": "2", "ss_seed": "1", "ss_steps": "6"}
    assert expected.items() <= metadata.items()
    assert {"sshs_model_hash", "sshs_legacy_hash", "modelspec.title", "ss_base_model_version"} <= set(metadata)


def test_no_metadata_keeps_what_a_loader_needs(train_toy: TrainToy) -> None:
    with safe_open(train_toy("--no_metadata"), "pt") as file:
        names = {name for name in file.metadata() if name.startswith("ss_")}
    assert names == {"ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha"}


def test_an_existing_result_is_kept(train_toy: TrainToy) -> None:
    first = train_toy()
    before = first.read_bytes()
    with pytest.raises(LoracoreError, match="exists already"):
        train_toy("--seed", "2")
    assert first.read_bytes() == before
    assert train_toy("--seed", "2", "--overwrite").read_bytes() != before


def test_training_goes_on_from_network_weights(train_toy: TrainToy) -> None:
    first = train_toy()
    frozen = train_toy("--network_weights", str(first), "--output_name", "next", "--learning_rate", "1e-12")
    one, other = load_file(first), load_file(frozen)
    assert all(torch.allclose(one[name], other[name], atol=1e-8) for name in one)


def test_ranks_come_from_the_file_when_asked(train_toy: TrainToy) -> None:
    first = train_toy("--network_dim", "3", "--network_alpha", "2")
    second = load_file(train_toy("--network_weights", str(first), "--dim_from_weights", "--output_name", "next"))
    assert second["lora_unet_blocks_0_mix.lora_down.weight"].shape == (3, 8)
    assert second["lora_unet_blocks_0_mix.alpha"] == 2


class Poison:
    """Makes the losses of one batch, or of all, worthless."""

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self.calls = 0
        self.skipped = 0

    @hookimpl
    def loss_weighting(self, batch: NoisyBatch) -> torch.Tensor:
        self.calls += 1
        worth = float("nan") if self.batch in {None, self.calls} else 1.0
        return torch.full((len(batch.timesteps),), worth)

    @hookimpl
    def run_finished(self, run: Run) -> None:
        self.skipped = run.steps.history.skipped


def test_bad_steps_are_never_applied(train_toy: TrainToy) -> None:
    poison = Poison(batch=3)
    tensors = load_file(train_toy(plugin=poison))
    assert poison.skipped == 1
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_run_that_never_gets_a_finite_loss_ends(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="in a row"):
        train_toy("--max_train_steps", "60", plugin=Poison())


def test_freed_parts_are_gone_when_training_starts(train_toy: TrainToy) -> None:
    class Watch:
        def __init__(self) -> None:
            self.parts: list[weakref.ref[Any]] = []
            self.alive: list[int] = []

        @hookimpl(wrapper=True)
        def load_models(self, parts: frozenset[str]) -> Any:
            models = yield
            if "denoiser" not in parts:
                self.parts += [weakref.ref(module) for module in models.modules().values()]
            return models

        @hookimpl
        def run_started(self) -> None:
            self.alive = [1 for part in self.parts if part() is not None]

    watch = Watch()
    train_toy(plugin=watch)
    assert len(watch.parts) == 2
    assert watch.alive == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--learning_rate", "0"), "nothing is trained"),
        (("--network_weights", "nowhere.safetensors"), "cannot be read"),
        (("--optimizer_args", "weight_decai=1"), "did you mean 'weight_decay'"),
        (("--optimizer_args", "weight_decay"), "not key=value"),
        (("--optimizer_args", "betas=0.9"), "refuses its arguments"),
        (("--optimizer_args", "weight_decay=-1"), "refuses its arguments"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_encoded(
    train_toy: TrainToy, words: tuple[str, ...], message: str
) -> None:
    class Encoding:
        called = False

        @hookimpl(wrapper=True)
        def encode_text(self) -> Generator[None, Any, Any]:
            self.called = True
            return (yield)

    encoding = Encoding()
    with pytest.raises(LoracoreError, match=message):
        train_toy(*words, plugin=encoding)
    assert not encoding.called


def test_starting_weights_of_another_rank_are_refused_early(train_toy: TrainToy) -> None:
    first = train_toy("--network_dim", "3")
    with pytest.raises(LoracoreError, match="dim_from_weights"):
        train_toy("--network_weights", str(first), "--output_name", "next")


def notes_of(train_toy: TrainToy, *words: str) -> list[str]:
    class Reader:
        notes: list[str]

        @hookimpl
        def run_started(self, run: Run) -> None:
            self.notes = list(run.notes)

    reader = Reader()
    train_toy(*words, plugin=reader)
    return reader.notes


def test_modules_that_start_fresh_beside_loaded_ones_are_noted(train_toy: TrainToy) -> None:
    first = train_toy()
    notes = notes_of(train_toy, "--network_weights", str(first), "--network_args", "conv_dim=2", "--output_name", "b")
    assert notes == ["network_weights knows 2 of the 4 modules; the others start fresh"]


@pytest.mark.parametrize("ranks", [(), ("--dim_from_weights",)])
def test_parts_of_a_file_that_do_not_train_are_left_out_and_noted(train_toy: TrainToy, ranks: tuple[str, ...]) -> None:
    first = train_toy("--no_network_train_unet_only")
    notes = notes_of(train_toy, "--network_weights", str(first), "--output_name", "b", *ranks)
    assert notes == ["network_weights: 3 tensors of parts that do not train are left out"]


def test_adapters_without_a_rate_collect_no_gradients(train_toy: TrainToy) -> None:
    class Watch:
        frozen: list[bool]

        @hookimpl
        def run_finished(self, run: Run) -> None:
            text = [entry.adapter for entry in run.network.entries if entry.target.part == "te1"]
            self.frozen = [p.grad is None and not p.requires_grad for one in text for p in one.parameters()]

    watch = Watch()
    train_toy("--no_network_train_unet_only", "--text_encoder_lr", "0", plugin=watch)
    assert watch.frozen == [True, True]


def test_a_run_without_a_single_good_step_saves_nothing(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="no step could be applied"):
        train_toy(plugin=Poison())
    assert list((tmp_path / "out").glob("*.safetensors")) == []


def test_a_failing_extension_loses_no_work(train_toy: TrainToy, tmp_path: Path) -> None:
    class Failing:
        @hookimpl
        def run_finished(self) -> None:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train_toy(plugin=Failing())
    assert (tmp_path / "out" / "toy.safetensors").exists()


def test_the_header_tells_what_was_trained_by_whichever_door_it_came(train_toy: TrainToy) -> None:
    words = ("--conv_dim", "3", "--network_args", "rank_dropout=0.1", "--text_encoder_lr", "0.5")
    with safe_open(train_toy(*words, "--no_network_train_unet_only"), "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": 3, "rank_dropout": 0.1, "dropout": None}
    assert (metadata["ss_text_encoder_lr"], metadata["ss_network_dim"]) == ("0.5", "4")
    assert {"ss_session_id", "ss_loss_type", "ss_fp8_base"} <= set(metadata)


def test_the_output_folder_is_looked_at_before_the_pictures(train_toy: TrainToy, pictures: Path) -> None:
    train_toy()
    (pictures / "0.png").write_bytes(b"no picture")
    with pytest.raises(LoracoreError, match="exists already"):
        train_toy()


def test_what_is_held_out_is_said(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--validation_split", "0.3", "--max_train_steps", "1")
    said = capsys.readouterr()
    assert "2 pictures are held out by validation_split" in said.out + said.err


def test_bad_headers_and_torn_pixels_are_named_in_one_run(train_toy: TrainToy, pictures: Path) -> None:
    torn = pictures / "1.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    (pictures / "0.png").write_bytes(b"no picture")
    with pytest.raises(LoracoreError) as caught:
        train_toy()
    assert [Path(problem.where).name for problem in caught.value.problems] == ["0.png", "1.png"]
    assert {problem.fix for problem in caught.value.problems} == {'repair or remove it, or set on_bad_image = "skip"'}
