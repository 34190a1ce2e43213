from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from loracore import hookimpl
from loracore.errors import ConfigError, LoracoreError
from loracore.training.run import Run
from loracore.training.state.fingerprint import _names
from loracore.training.state.folder import TENSORS, TREE, read_head, read_state, write_state
from tests.conftest import RunCli
from tests.resumed_runs import StopAt, assert_resumes_exactly, interrupted
from tests.toy_runs import TrainToy


class Seen:
    """Notes what a run says at its start, and which steps it takes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.ids: list[tuple[str, ...]] = []
        self.rates: list[float] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.notes = list(run.notes)

    @hookimpl
    def step_done(self, run: Run, step: int, ids: tuple[str, ...]) -> None:
        self.steps.append(step)
        self.ids.append(ids)
        self.rates.append(run.moving.schedule.rates()["unet"])

    @property
    def note(self) -> str:
        return "\n".join(self.notes)


@pytest.mark.parametrize("stops", [[1], [4], [2, 5]], ids=["in an epoch", "at its end", "twice"])
def test_a_resumed_run_ends_as_one_that_never_stopped(train_toy: TrainToy, tmp_path: Path, stops: list[int]) -> None:
    assert_resumes_exactly(train_toy, tmp_path, stops, ["--lr_scheduler", "cosine"])


def test_a_run_resumed_behind_a_short_window_ends_alike(train_toy: TrainToy, tmp_path: Path) -> None:
    assert_resumes_exactly(train_toy, tmp_path, [2], ["--gradient_accumulation_steps", "3"])


def test_latest_is_the_state_that_was_written_last(train_toy: TrainToy) -> None:
    train_toy("--save_state", "--save_every_n_steps", "2", "--max_train_steps", "12")
    state = interrupted(train_toy, 2, "--overwrite", "--learning_rate", "2e-2")  # there are later ones still
    seen = Seen()
    train_toy("--resume", "latest", "--learning_rate", "2e-2", plugin=seen)
    assert f"resumed from {state}, behind step 2" in seen.note


def test_latest_is_the_state_of_the_end(train_toy: TrainToy) -> None:
    train_toy("--save_state", "--save_every_n_steps", "2", "--max_train_steps", "4")
    seen = Seen()
    train_toy("--resume", "latest", plugin=seen)
    assert seen.steps == [5, 6]
    assert "toy-state, behind step 4" in seen.note


def test_latest_without_a_state_begins_at_the_beginning_and_says_so(train_toy: TrainToy) -> None:
    seen = Seen()
    train_toy("--resume", "latest", plugin=seen)
    assert seen.steps == [1, 2, 3, 4, 5, 6]
    assert "no state in" in seen.note


def test_latest_passes_over_a_damaged_state_and_names_it(train_toy: TrainToy) -> None:
    final = train_toy("--save_state", "--save_every_n_steps", "2", "--max_train_steps", "4")
    for name in ("toy-state", "toy-step00000004-state"):
        (final.with_name(name) / TENSORS).unlink()
    seen = Seen()
    train_toy("--resume", "latest", plugin=seen)
    assert seen.steps == [3, 4, 5, 6]
    assert all(f"left out: {final.with_name(name)}" in seen.note for name in ("toy-state", "toy-step00000004-state"))


def test_latest_names_a_newest_state_that_was_torn(train_toy: TrainToy) -> None:
    final = train_toy("--save_state", "--save_every_n_steps", "2", "--max_train_steps", "4")
    final.with_name("toy-state").joinpath(TREE).write_text('{"format": 1, "st', encoding="utf-8")
    seen = Seen()
    train_toy("--resume", "latest", plugin=seen)
    assert seen.steps == [5, 6]
    assert f"left out: {final.with_name('toy-state')}: this state is damaged" in seen.note


def test_latest_with_damaged_states_alone_is_an_error(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    (state / TREE).write_text("{", encoding="utf-8")
    with pytest.raises(LoracoreError, match="damaged"):
        train_toy("--resume", "latest")


def test_a_missing_state_is_an_error(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(LoracoreError, match="there is no state"):
        train_toy("--resume", str(tmp_path / "none"))


def test_every_difference_is_named_at_once(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    with pytest.raises(LoracoreError) as caught:
        train_toy("--resume", str(state), "--network_dim", "2", "--seed", "5", "--shuffle_caption")
    said = [problem.message for problem in caught.value.problems]
    assert said == [
        "shuffle_caption is True, the state's run had False",
        "network_dim is 2, the state's run had unset",
        "seed is 5, the state's run had 1",
    ]


def test_what_does_not_shape_training_may_differ(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    final = train_toy("--resume", str(state), "--output_name", "other", "--save_every_n_steps", "3")
    assert final.name == "other.safetensors"


def test_another_data_set_is_refused(train_toy: TrainToy, pictures: Path) -> None:
    state = interrupted(train_toy, 2)
    Image.new("RGB", (64, 64)).save(pictures / "more.png")
    with pytest.raises(LoracoreError, match="the state's data set has 6 pictures, this run's 7"):
        train_toy("--resume", str(state))


def test_captions_that_changed_are_counted(train_toy: TrainToy, pictures: Path) -> None:
    state = interrupted(train_toy, 2)
    for path in sorted(pictures.glob("*.txt"))[:2]:
        path.write_text("something else", encoding="utf-8")
    with pytest.raises(LoracoreError, match=r"2 of 6 captions have changed .*--network_weights"):
        train_toy("--resume", str(state))


def test_pictures_that_became_other_files_are_counted(train_toy: TrainToy, pictures: Path) -> None:
    state = interrupted(train_toy, 2)
    path = min(pictures.glob("*.png"))
    with Image.open(path) as picture:
        size = picture.size
    Image.effect_noise(size, 100).convert("RGB").save(path)
    with pytest.raises(LoracoreError, match="1 of 6 pictures' files have changed"):
        train_toy("--resume", str(state))


def test_a_data_set_may_move(train_toy: TrainToy, pictures: Path, tmp_path: Path) -> None:
    state = interrupted(train_toy, 2)
    shutil.copytree(pictures, tmp_path / "elsewhere")
    train_toy("--resume", str(state), "--train_data_dir", str(tmp_path / "elsewhere"))


def test_a_run_may_grow(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    seen = Seen()
    train_toy("--resume", str(state), "--max_train_steps", "8", plugin=seen)
    assert seen.steps == [3, 4, 5, 6, 7, 8]
    assert "max_train_steps is 8, the state's run had 6" in seen.note


def test_a_run_does_not_end_before_its_state(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 4)
    with pytest.raises(LoracoreError, match="the state is of step 4, and the run ends with step 3"):
        train_toy("--resume", str(state), "--max_train_steps", "3")


def test_behind_the_last_step_only_the_final_file_is_written(train_toy: TrainToy) -> None:
    final = train_toy("--save_state_on_train_end")
    before = load_file(final)
    final.unlink()
    seen = Seen()
    train_toy("--resume", str(final.with_name("toy-state")), plugin=seen)
    assert seen.steps == []
    assert "nothing is left to train" in seen.note
    assert all(tensor.equal(before[name]) for name, tensor in load_file(final).items())


def test_the_seed_of_the_state_goes_on(train_toy: TrainToy, toy_config: Path) -> None:
    text = toy_config.read_text(encoding="utf-8")
    toy_config.write_text(text.replace("seed = 1\n", ""), encoding="utf-8")  # one is drawn
    state = interrupted(train_toy, 2)
    drawn = json.loads((state / TREE).read_text(encoding="utf-8"))["content"]["seed"]
    final = train_toy("--resume", str(state), "--save_state_on_train_end")
    content = json.loads((final.with_name("toy-state") / TREE).read_text(encoding="utf-8"))["content"]
    assert content["seed"] == drawn


def test_another_version_is_noted(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    text = (state / TREE).read_text(encoding="utf-8")
    own = read_head(state).versions["torch"]
    (state / TREE).write_text(text.replace(f'"torch": "{own}"', '"torch": "1.0"'), encoding="utf-8")
    seen = Seen()
    train_toy("--resume", str(state), plugin=seen)
    assert f"torch 1.0 → {own}" in seen.note


@pytest.mark.parametrize("flags", [("--initial_step", "4"), ("--initial_epoch", "2")])
def test_a_run_can_begin_behind_a_step(train_toy: TrainToy, flags: tuple[str, ...]) -> None:
    whole, late = Seen(), Seen()
    train_toy("--lr_scheduler", "cosine", plugin=whole)
    train_toy("--lr_scheduler", "cosine", "--output_name", "late", *flags, plugin=late)
    assert (late.steps, late.ids, late.rates) == (whole.steps[4:], whole.ids[4:], whole.rates[4:])


def test_a_run_does_not_begin_behind_its_end(train_toy: TrainToy) -> None:
    with pytest.raises(ConfigError, match="begins behind step 6, and ends with step 6"):
        train_toy("--initial_step", "6")


def test_states_without_tensors_of_this_network_are_refused(train_toy: TrainToy, tmp_path: Path) -> None:
    state = interrupted(train_toy, 2)
    with pytest.raises(LoracoreError, match="network_train_unet_only is False"):
        train_toy("--resume", str(state), "--no_network_train_unet_only")


@pytest.mark.timeout(120)
def test_two_processes_go_on_from_the_state_of_one(
    train_toy: TrainToy, cli: RunCli, toy_config: Path, tmp_path: Path
) -> None:
    whole = train_toy("--train_batch_size", "4", "--output_name", "whole")
    state = interrupted(train_toy, 3, "--train_batch_size", "4")
    words = ("--resume", state, "--num_processes", "2", "--train_batch_size", "2", "--output_name", "two")
    done = cli("train", toy_config, *words)
    assert done.returncode == 0, done.stderr
    one, two = load_file(whole), load_file(whole.with_name("two.safetensors"))
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4  # sums are taken in another order


def test_batches_of_another_size_are_refused(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2)
    with pytest.raises(LoracoreError, match="batches of all processes together have 3 pictures, the state's 2"):
        train_toy("--resume", str(state), "--train_batch_size", "3")


def test_an_interrupted_run_resumes_over_its_own_files(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2, "--save_every_n_steps", "1")
    final = train_toy("--resume", str(state), "--save_every_n_steps", "1", plugin=StopAt(99))
    assert final.exists()


def test_a_resumed_run_is_the_same_session(train_toy: TrainToy) -> None:
    def said(path: Path) -> tuple[str, str]:
        with safe_open(path, "pt") as file:
            found = file.metadata()
        return found["ss_session_id"], found["ss_training_started_at"]

    state = interrupted(train_toy, 2)
    first = said(state.with_name("toy-step00000002.safetensors"))
    assert said(train_toy("--resume", str(state))) == first
    assert said(train_toy("--output_name", "other"))[0] != first[0]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("content",), "started"),
        (("content", "parts"), "validations"),
        (("content", "parts", "validations"), "waited"),
    ],
)
def test_a_state_that_lacks_something_is_of_another_version(
    train_toy: TrainToy, place: tuple[str, ...], name: str
) -> None:
    state = interrupted(train_toy, 2)
    tree = read_state(state)
    inner = tree
    for step in place[1:]:
        inner = inner[step]
    del inner[name]
    write_state(state, 2, read_head(state).versions, tree)
    with pytest.raises(LoracoreError, match=f"another version wrote this state: it differs .* {name}"):
        train_toy("--resume", str(state))


def test_a_state_can_be_named_in_every_way(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = interrupted(train_toy, 2)
    monkeypatch.chdir(state.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for number, written in enumerate((f"{state}/", state.name, f"./{state.name}/", f"~/out/{state.name}")):
        seen = Seen()
        train_toy("--resume", written, "--output_name", f"again{number}", plugin=seen)
        assert seen.steps == [3, 4, 5, 6]


def test_latest_may_stand_in_the_configuration(train_toy: TrainToy, toy_config: Path) -> None:
    with toy_config.open("a", encoding="utf-8") as file:
        file.write('resume = "latest"\n')
    seen, again = Seen(), Seen()
    train_toy("--save_state_on_train_end", "--max_train_steps", "2", plugin=seen)
    train_toy(plugin=again)
    assert (seen.steps, again.steps) == ([1, 2], [3, 4, 5, 6])
    assert "no state in" in seen.note


def test_no_first_previews_of_a_run_that_goes_on(train_toy: TrainToy, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red square --w 64 --h 64 --s 1", encoding="utf-8")
    words = ("--sample_prompts", str(tmp_path / "prompts.txt"), "--sample_at_first")
    state = interrupted(train_toy, 2, *words)
    drawn = sorted((tmp_path / "out" / "sample").iterdir())
    train_toy("--resume", str(state), *words)
    assert len(drawn) == 1
    assert sorted((tmp_path / "out" / "sample").iterdir()) == drawn


def test_the_state_takes_the_place_of_the_file_that_the_run_began_from(train_toy: TrainToy) -> None:
    file = train_toy("--output_name", "first")
    state = interrupted(train_toy, 2, "--network_weights", str(file))
    file.unlink()
    assert train_toy("--network_weights", str(file), "--resume", str(state)).exists()


def test_a_list_of_pictures_may_have_moved() -> None:
    whole = [str(Path("/here/set", *rest)) for rest in (("a.png",), ("sub", "b.png"))]
    assert _names(whole, whole=True) == ["a.png", "sub/b.png"]
    assert _names(["/x/a.png"], whole=True) == ["a.png"]
    assert _names(["a.png"], whole=False) == ["a.png"]
