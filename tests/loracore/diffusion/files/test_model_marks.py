from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.diffusion.files.model_marks import check_marks, mark_findings
from loracore.diffusion.options import DdpmOptions
from loracore.errors import ConfigError
from loracore.weights.options import ConvertOptions, ExtractOptions, MergeOptions

V, ZTSNR = "v_parameterization", "zero_terminal_snr"
MODEL = "pretrained_model_name_or_path"


def config_of(model: Path | str | None, **options: bool) -> Config:
    tables = [ModelOptions(None if model is None else str(model)), DdpmOptions(**options)]
    return Config(tables, dict.fromkeys(options, "run.toml:1"))


def told(model: Path | str | None, **options: bool) -> list[tuple[str, str]]:
    return [(finding.fate, finding.option) for finding in mark_findings(config_of(model, **options))]


def file_with(folder: Path, *names: str, prediction: str | None = None) -> Path:
    """A checkpoint with these empty tensors, and this modelspec."""
    path = folder / "model.safetensors"
    metadata = {} if prediction is None else {"modelspec.prediction_type": prediction}
    save_file({"weight": torch.zeros(1), **{name: torch.zeros(0) for name in names}}, path, metadata)
    return path


def folder_with(folder: Path, **scheduler: object) -> Path:
    """A folder in the diffusers layout with this scheduler."""
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler), encoding="utf-8")
    return folder


def test_tensors_imply_what_was_not_given(tmp_path: Path) -> None:
    path = file_with(tmp_path, "v_pred", "ztsnr")
    found = list(mark_findings(config_of(path)))
    assert [(finding.fate, finding.option, finding.value) for finding in found] == [
        ("implied", V, True),
        ("implied", ZTSNR, True),
    ]
    assert found[0].message == "v_parameterization is on: the checkpoint is marked 'v_pred'"
    assert told(path, v_parameterization=True, zero_terminal_snr=True) == []


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("v", [("implied", V)]),
        ("V", [("implied", V)]),
        ("V_Prediction ", [("implied", V)]),
        ("epsilon", []),
        ("Epsilon", []),
        ("else", [("without effect", MODEL)]),
        ("Sample", [("unsupported", MODEL)]),
        ("", []),
        (None, []),
    ],
)
def test_what_a_word_in_the_header_says(
    tmp_path: Path, prediction: str | None, expected: list[tuple[str, str]]
) -> None:
    assert told(file_with(tmp_path, prediction=prediction)) == expected


@pytest.mark.parametrize("name", ["edm_mean", "edm_std", "edm_vpred.sigma_max"])
def test_a_checkpoint_of_other_noise_is_refused_whatever_its_header_says(tmp_path: Path, name: str) -> None:
    path = file_with(tmp_path, name, prediction="v")
    (finding,) = mark_findings(config_of(path, v_parameterization=True))
    assert (finding.fate, finding.option) == ("unsupported", MODEL)
    assert f"'{name}'" in finding.message
    assert told(path, ignore_model_marks=True) == [("without effect", MODEL)]


@pytest.mark.parametrize(
    "scheduler",
    [
        {"prediction_type": "sample"},
        {"prediction_type": "epsilon", "_class_name": "EDMEulerScheduler"},
        {"prediction_type": "v_prediction", "_class_name": "EDMDPMSolverMultistepScheduler"},
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    ],
)
def test_a_scheduler_of_another_objective_is_refused(tmp_path: Path, scheduler: dict[str, object]) -> None:
    folder = folder_with(tmp_path, **scheduler)
    assert told(folder) == told(folder, v_parameterization=True) == [("unsupported", MODEL)]
    assert told(folder, ignore_model_marks=True) == [("without effect", MODEL)]


def test_a_scheduler_of_ddpm_noise_says_nothing_by_its_name(tmp_path: Path) -> None:
    assert told(folder_with(tmp_path, _class_name="EulerDiscreteScheduler", prediction_type="epsilon")) == []


@pytest.mark.parametrize(("given", "trained"), [({}, "noise is trained"), ({V: True}, "v is trained")])
def test_an_unknown_word_is_a_note_with_what_is_trained(tmp_path: Path, given: dict[str, bool], trained: str) -> None:
    (finding,) = mark_findings(config_of(folder_with(tmp_path, prediction_type="trigflow"), **given))
    assert (finding.fate, finding.option) == ("without effect", MODEL)
    assert "'trigflow'" in finding.message
    assert finding.message.endswith(trained)


@pytest.mark.parametrize("header", ["epsilon", "sample", "else"])
def test_a_tensor_counts_more_than_the_header(tmp_path: Path, header: str) -> None:
    path = file_with(tmp_path, "v_pred", prediction=header)
    (finding,) = mark_findings(config_of(path))
    assert (finding.fate, finding.option) == ("implied", V)
    assert finding.message.endswith(f"'v_pred' (its modelspec.prediction_type, '{header}', is not believed)")
    assert told(path, v_parameterization=True) == []


def test_a_terminal_mark_alone_is_not_believed(tmp_path: Path) -> None:
    path = file_with(tmp_path, "ztsnr")
    (finding,) = mark_findings(config_of(path))
    assert (finding.fate, finding.option, finding.value) == ("without effect", ZTSNR, None)
    assert "not believed" in finding.message
    assert told(path, v_parameterization=True) == [("implied", ZTSNR)]


def test_marks_that_say_what_the_options_say_leave_nothing_to_ignore(tmp_path: Path) -> None:
    ignoring = {"ignore_model_marks": True}
    assert told(file_with(tmp_path), **ignoring) == [("without effect", "ignore_model_marks")]
    path = file_with(tmp_path, "v_pred")
    assert told(path, v_parameterization=True, **ignoring) == [("without effect", "ignore_model_marks")]
    assert told(path, **ignoring) == [("without effect", V)]


def test_the_scheduler_of_a_folder_implies_both(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert told(folder) == [("implied", V), ("implied", ZTSNR)]


def test_a_schedulers_defaults_contradict_only_v(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, prediction_type="epsilon", rescale_betas_zero_snr=False)
    assert told(folder) == told(folder, zero_terminal_snr=True) == []
    assert told(folder, v_parameterization=True) == [("wrong", V)]


@pytest.mark.parametrize("model", [None, "owner/name", "./nowhere"])
def test_what_is_not_on_this_disk_says_nothing(model: str | None) -> None:
    assert told(model) == []


@pytest.mark.parametrize(("mark", "given"), [("v_pred", False), (None, True)])
def test_a_given_option_that_the_model_contradicts_is_wrong(tmp_path: Path, mark: str | None, given: bool) -> None:
    path = file_with(tmp_path, mark) if mark else file_with(tmp_path, prediction="epsilon")
    (finding,) = mark_findings(config_of(path, v_parameterization=given))
    assert (finding.fate, finding.option) == ("wrong", V)
    assert "v_pred'" in finding.message if mark else "is 'epsilon'" in finding.message
    assert "ignore_model_marks" in finding.fix


@pytest.mark.parametrize("options", [{}, {"v_parameterization": False}])
def test_ignored_marks_are_a_note_each(tmp_path: Path, options: dict[str, bool]) -> None:
    path = file_with(tmp_path, "v_pred", "ztsnr", prediction="epsilon")
    expected = [("without effect", V), ("without effect", ZTSNR)]
    assert told(path, ignore_model_marks=True, **options) == expected


def test_marks_that_contradict_each_other_are_wrong_unless_ignored(tmp_path: Path) -> None:
    path = file_with(tmp_path, "ztsnr", prediction="epsilon")
    (finding,) = mark_findings(config_of(path))
    assert (finding.fate, finding.option) == ("wrong", "pretrained_model_name_or_path")
    assert "'ztsnr'" in finding.message
    assert "'epsilon'" in finding.message
    both = {"v_parameterization": True, "zero_terminal_snr": True, "ignore_model_marks": True}
    assert told(path, **both) == [("without effect", V)]


def test_a_pickle_is_compared_once_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"v_pred": torch.zeros(0)}, path)
    assert told(path) == []
    with pytest.raises(ConfigError, match="--v_parameterization"):
        check_marks(config_of(path), ["v_pred"])
    check_marks(config_of(path, v_parameterization=True), ["v_pred"])
    with pytest.raises(ConfigError, match="'edm_std'"):
        check_marks(config_of(path), ["edm_std"])


def test_late_marks_that_are_ignored_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "model.ckpt"
    path.touch()
    with caplog.at_level(logging.WARNING):
        check_marks(config_of(path, ignore_model_marks=True), ["v_pred"])
    assert "v_pred" in caplog.text


def test_a_model_on_the_hub_is_compared_once_it_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "models--owner--tiny"
    (hub / "snapshots" / "abc").mkdir(parents=True)
    folder_with(hub / "snapshots" / "abc", prediction_type="v_prediction")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"prediction_type 'v_prediction'.*--v_parameterization"):
        check_marks(config_of("owner/tiny"), [])
    check_marks(config_of("owner/tiny", v_parameterization=True), [])


@pytest.mark.parametrize("table", [MergeOptions(), ConvertOptions(), ExtractOptions()])
def test_tools_that_train_nothing_take_models_of_every_objective(tmp_path: Path, table: object) -> None:
    model = file_with(tmp_path, "edm_vpred.sigma_max")
    config = Config([ModelOptions(str(model)), DdpmOptions(), table], {})
    assert not list(mark_findings(config))
    (implied,) = mark_findings(Config([ModelOptions(str(file_with(tmp_path, "v_pred"))), DdpmOptions(), table], {}))
    assert (implied.fate, implied.option) == ("implied", V)
