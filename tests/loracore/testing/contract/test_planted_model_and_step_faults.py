"""Faults of a toy architecture that a usual batch does not show: each is named with its file and its cure."""

from __future__ import annotations

import pytest

from tests.planted_toy import (
    LOAD,
    MODULE,
    NAME,
    PREDICTION,
    TARGETS,
    TEXT,
    assert_told,
)
from tests.planting import Planted

FOUND = "from dataclasses import replace as r\n\n    found = "
STATE = "\nLORACORE_API"
CACHE = "@__import__('functools').cache\ndef _cached(build):\n    return __import__('functools').cache(build)\n"
OUTPUT = PREDICTION.removeprefix("return Prediction(").removesuffix(", batch.noise)")

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


def hooked(*lines: str) -> tuple[str, str]:
    """Return the change that adds one more hook."""
    return NAME, f"{NAME}\n\n@hookimpl\n" + "\n".join(lines) + "\n"


# ---- options --------------------------------------------------------------------------------------------------------


def test_options_that_are_checked_with_an_exception(planted: Planted) -> None:
    error = planted(hooked("def check_options(config):", '    return [{}["x"]]'))
    assert_told(error, "check_options", "raises KeyError: 'x'", "mend this line")
    assert f"{MODULE}.py:" in error.faults[0].where


def test_options_that_are_checked_with_nothing(planted: Planted) -> None:
    error = planted(hooked("def check_options(config):", "    return None"))
    assert_told(error, "check_options", "gives None as its answer", "return")


def test_an_option_that_changes_captions_and_no_cache(planted: Planted) -> None:
    said = 'from loracore import TextConditioning as C\n\n    said = toy_models.encode_text(models, captions)["pooled"]'
    wide = f'{said}\n    return C({{"pooled": said * config[ToyOptions].toy_width}})'
    error = planted(
        (TEXT, wide),
        ("captions: Sequence[str]) -> TextCond", "captions: Sequence[str], config: Config) -> TextCond"),
        hooked("def cache_identity(part):", "    return part"),
    )
    assert_told(error, "option toy_width", "changes what encode_text gives", 'write affects={"text"}')
    assert len(error.faults) == 1


# ---- models ---------------------------------------------------------------------------------------------------------


def test_a_look_at_headers_that_refuses_a_model_that_loads(planted: Planted) -> None:
    error = planted(hooked("def check_models(parts):", '    raise ValueError("no")'))
    assert_told(error, "check_models", "raises ValueError: no", "mend this look at it")
    assert f"{MODULE}.py:" in error.faults[0].where


def test_models_that_are_kept_in_a_list(planted: Planted) -> None:
    kept = f"{LOAD.replace('return ', 'found = ')}\n    _KEPT.append(found)\n    return found"
    error = planted((LOAD, kept), (STATE, f"\n_KEPT = []\n{STATE}"))
    assert_told(error, "load_models", "keeps te1, vae, unet", "no list or attribute that holds modules")


def test_models_that_are_kept_in_a_cache(planted: Planted) -> None:
    call = LOAD.removeprefix("return toy_models.build")
    error = planted((LOAD, f"return _cached(toy_models.build){call}"), (STATE, f"\n{CACHE}\n{STATE}"))
    assert_told(error, "load_models", "keeps te1, vae, unet", "no cache around it")
    assert {fault.hook for fault in error.faults} == {"load_models"}


def test_blocks_in_another_order(planted: Planted) -> None:
    turned = "r(found, blocks={part: some[::-1] for part, some in found.blocks.items()})"
    error = planted((LOAD, f"{FOUND}{LOAD.removeprefix('return ')}\n    return {turned}"))
    assert_told(error, "load_models", "Models.blocks of unet are not in the order in which they run", "execution order")


# ---- targets --------------------------------------------------------------------------------------------------------


def test_keys_that_name_another_part(planted: Planted) -> None:
    key = 'one.key.replace("te1", "X").replace("unet", "te1").replace("X", "unet")'
    error = planted((TARGETS, f"{FOUND}toy_models.targets(models)\n    return [r(one, key={key}) for one in found]"))
    assert_told(error, "lora_targets", "'lora_unet_projection' names another part than its own, te1", "lora_te1_")


def test_keys_of_two_parts_that_begin_alike(planted: Planted) -> None:
    key = 'one.key.replace("te1", "model").replace("unet", "model")'
    error = planted((TARGETS, f"{FOUND}toy_models.targets(models)\n    return [r(one, key={key}) for one in found]"))
    assert_told(
        error, "lora_targets", "keys of unet begin like those of te1, with 'lora_model_'", "a prefix of its own"
    )


def test_keys_with_a_prefix_of_the_fields_own_pass(planted: Planted) -> None:
    key = 'one.key.replace("lora_te1", "lycoris_te").replace("lora_unet", "lycoris")'
    keys = f"{FOUND}toy_models.targets(models)\n    return [r(one, key={key}) for one in found]"
    error = planted((TARGETS, keys), (NAME, NAME.replace('"toy"', "1.5")))
    assert [fault.hook for fault in error.faults] == ["file_metadata"]


# ---- a step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["__import__('torch').rand(1)", "__import__('random').random()"])
def test_a_global_generator_behind_a_threshold(planted: Planted, draw: str) -> None:
    error = planted(hooked("def prepare_batch(batch):", f"    return batch if {draw} < 2 else None"))
    assert_told(error, "prepare_batch", "draws from a global generator", "draw from rng")


def test_a_step_that_a_single_sample_breaks(planted: Planted) -> None:
    error = planted((PREDICTION, PREDICTION.replace("pooled)", "pooled.squeeze())")))
    assert_told(error, "predict_noise", "with a batch of one sample: raises", "mend this line")


def test_a_step_that_half_precision_breaks(planted: Planted) -> None:
    error = planted((PREDICTION, f"models.denoiser.enter(batch.noisy_latents)\n    {PREDICTION}"))
    assert_told(error, "predict_noise", "with models in torch.bfloat16: raises", "mend this line")


def test_rows_of_a_prediction_that_depend_on_each_other(planted: Planted) -> None:
    error = planted((PREDICTION, f"found = {OUTPUT}\n    return Prediction(found - found.mean(dim=0), batch.noise)"))
    assert_told(error, "predict_noise", "a row of output depends on the rows beside it", "no mean over B")


def test_rows_of_noisy_latents_that_depend_on_each_other(planted: Planted) -> None:
    error = planted(("batch.latents + mixed * noise", "batch.latents + mixed * (noise - noise.mean(dim=0))"))
    assert_told(error, "noise_latents", "a row of noisy_latents depends on the rows beside it", "no mean over B")


def test_a_target_with_a_gradient(planted: Planted) -> None:
    error = planted((PREDICTION, f"found = {OUTPUT}\n    return Prediction(found, batch.noise + 0 * found)"))
    assert_told(error, "predict_noise", "the target has a gradient", "detach()")
