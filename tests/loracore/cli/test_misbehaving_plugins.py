"""Plugins that misbehave in a run: whose it is comes first; runs that do not name them never notice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loracore.testing.pytest_plugin import RunCli
from tests.loracore.cli.conftest import Call
from tests.loracore.conftest import PLUGIN, Install

pytestmark = pytest.mark.timeout(180)  # processes that import torch take their time on a busy machine

RAISES = PLUGIN + "@hookimpl\ndef loss_weighting(batch): return batch.weight_of_nobody\n"
SILENT = PLUGIN + "@hookimpl\ndef loss_weighting(batch): weights = batch.sigma\n"
RIVAL = PLUGIN + "@dataclass(frozen=True)\nclass Mine:\n    'Mine.'\n    toy_width: Annotated[int, option('w')] = 1\n"


def test_a_plugin_that_raises_is_named_before_its_own_traceback(
    loracore_cli: RunCli, loracore_config: Path, install: Install
) -> None:
    install("odd", "extension", "odd", RAISES)
    done = loracore_cli("train", loracore_config, "--extensions", "odd")
    assert done.returncode == 1
    line, traceback = done.stderr.split("error: extension 'odd' (odd 1.5) fails in the hook 'loss_weighting':\n")
    assert "Traceback" not in line
    assert traceback.startswith("Traceback")
    assert "odd_odd_module.py" in traceback
    assert traceback.rstrip().endswith("has no attribute 'weight_of_nobody'")


def test_a_plugin_that_answers_none_is_named_with_what_to_return(
    loracore: Call, loracore_config: Path, install: Install
) -> None:
    install("odd", "extension", "odd", SILENT)
    answer = loracore("train", str(loracore_config), "--extensions", "odd")
    assert answer.code == 2
    (line,) = [line for line in answer.errors if "gives None" in line]
    assert re.search(r"odd_odd_module\.py:6: extension 'odd' \(odd 1\.5\) .* 'loss_weighting' \(return one", line)


def test_options_that_are_forgotten_are_an_error_before_anything_else(
    loracore: Call, loracore_config: Path, install: Install
) -> None:
    install("odd", "extension", "odd", PLUGIN + "@hookimpl\ndef options(): ()\n")
    answer = loracore("train", str(loracore_config), "--extensions", "odd", "--odd_option", "1")
    assert "gives None as its answer to the hook 'options'" in answer.err


def test_an_option_that_another_plugin_has_names_both(loracore: Call, loracore_config: Path, install: Install) -> None:
    install("odd", "extension", "odd", RIVAL + "@hookimpl\ndef options(): return (Mine,)\n")
    answer = loracore("train", str(loracore_config), "--extensions", "odd")
    assert answer.code == 2
    assert re.search(r"'toy_width' is declared twice.*architecture toy.*extension odd", answer.err)


def test_what_is_broken_is_nothing_to_a_run_that_does_not_name_it(
    loracore: Call, loracore_config: Path, install: Install
) -> None:
    for name, source in (("raises", RAISES), ("newer", "LORACORE_API = 9"), ("broken", "1 / 0")):
        install(name, "extension", name, source)
    assert loracore("plugins", "--hooks", str(loracore_config)).code == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("LORACORE_API = 9", "was written for plugin API 9; this loracore speaks 1 (update loracore)"),
        ("LORACORE_API = 0", "was written for plugin API 0; this loracore speaks 1 (update odd)"),
        ("", "states no LORACORE_API; this loracore speaks 1 (update odd)"),
        ("from loracore import Marvel", "(it wants another loracore: update loracore, or odd)"),
    ],
)
def test_a_plugin_of_another_time_says_what_to_update(
    loracore: Call, loracore_config: Path, install: Install, source: str, said: str
) -> None:
    install("odd", "extension", "odd", source)
    answer = loracore("train", str(loracore_config), "--extensions", "odd")
    assert answer.code == 2
    assert said in answer.err


def test_a_traced_run_tells_its_hook_calls_on_stderr_and_its_result_on_stdout(
    loracore_cli: RunCli, loracore_config: Path
) -> None:
    done = loracore_cli("train", loracore_config, "--trace", "--max_train_steps", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(".safetensors")
    assert len(done.stdout.splitlines()) == 1
    told = [re.sub(r"^ *[0-9.]+ s +", "", line) for line in done.stderr.splitlines() if re.match(r" *[0-9.]+ s ", line)]
    begun = [line.partition("(")[0] for line in told if re.match(r"\w+\(", line)]
    step = ["prepare_batch", "draw_timesteps", "draw_noise", "noise_latents", "predict_noise", "loss_weighting"]
    assert begun[begun.index("draw_timesteps") - 1 :][: len(step)] == step
    assert {"options", "check_options", "load_models", "build_adapter", "step_done", "run_finished"} <= set(begun)
    assert any(
        re.match(r"predict_noise = Prediction\(\d,3,\d+,\d+\)  [0-9.]+ ms  architecture$", line) for line in told
    )


def test_without_the_option_nothing_is_traced(loracore: Call, loracore_config: Path) -> None:
    assert "check_options" not in loracore("check", str(loracore_config)).err
    assert "check_options = [" in loracore("check", str(loracore_config), "--trace").err


FORWARD = (
    PLUGIN
    + """
from loracore.testing import toy_network
@hookimpl
def build_adapter(target, config):
    adapter = toy_network.build_adapter(target=target, config=config)
    adapter.{method} = broken
    return adapter
def broken(*_args, **_kwargs): return 1 / 0
"""
)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("forward", r"fails, while architecture 'toy' \([^)]*\) answers the hook 'predict_noise':\n"),
        ("file_tensors", r"fails:\n"),
    ],
)
def test_an_error_in_an_adapter_is_its_networks(
    loracore_cli: RunCli, loracore_config: Path, install: Install, method: str, said: str
) -> None:
    install("loracore-odd", "network", "oddnet", FORWARD.format(method=method))
    done = loracore_cli("train", loracore_config, "--network_module", "oddnet")
    assert done.returncode == 1
    line, _ = done.stderr.split("Traceback", 1)
    assert re.search(r"error: network 'oddnet' \(loracore-odd 1\.5\) " + said, line), done.stderr[-2000:]


@pytest.mark.parametrize("shape", ["(7,)", "(1,)", "(len(batch.sigma), 1)"])
def test_factors_that_are_not_one_a_sample_name_who_gives_them(
    loracore: Call, loracore_config: Path, install: Install, shape: str
) -> None:
    source = PLUGIN + f"@hookimpl\ndef loss_weighting(batch): return batch.sigma.new_ones({shape})\n"
    install("odd", "extension", "odd", source)
    answer = loracore("train", str(loracore_config), "--extensions", "odd", "--train_batch_size", "2")
    assert answer.code == 2
    said = r"py:6: extension 'odd' \(odd 1\.5\) gives a tensor of shape .* for 2 samples .*'loss_weighting' \(return"
    assert re.search(said, answer.err), answer.err


def test_options_of_no_table_are_the_plugins_error(loracore: Call, loracore_config: Path, install: Install) -> None:
    install("odd", "extension", "odd", PLUGIN + "@hookimpl\ndef options(): return Finding\n")
    answer = loracore("check", str(loracore_config), "--extensions", "odd")
    assert re.search(r"odd_odd_module\.py:6: extension 'odd' \(odd 1\.5\) gives the class Finding", answer.out)


def test_a_finding_that_is_in_no_list_is_the_plugins_error(
    loracore: Call, loracore_config: Path, install: Install
) -> None:
    source = PLUGIN + "@hookimpl\ndef check_options(): return Finding('wrong', 'seed', 'odd')\n"
    install("odd", "extension", "odd", source)
    answer = loracore("check", str(loracore_config), "--extensions", "odd")
    assert re.search(r"odd_odd_module\.py:6: extension 'odd' \(odd 1\.5\) gives one Finding", answer.out)
