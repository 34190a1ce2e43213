"""A toy architecture with one thing wrong: the contract check names the hook, the file, and what to do."""

from __future__ import annotations

import pytest

from tests.planted_toy import (
    IMAGES,
    LOAD,
    MODULE,
    NAME,
    NOISY,
    PICTURES,
    PREDICTION,
    TARGETS,
    TEXT,
    assert_told,
)
from tests.planting import Planted

#: Has the name there when the hooks run.
IMPORTED = (
    ("NoisyBatch, Part, Prediction, hookimpl", "NoisyBatch, Part, Prediction, TextConditioning, hookimpl"),
    ("Latents, TextConditioning\n", "Latents\n"),
)

#: Nothing but imports stand at a process's first check: they are no test's own time.
pytestmark = pytest.mark.timeout(180)


# ---- the module -----------------------------------------------------------------------------------------------------


def test_a_misspelt_hook(planted: Planted) -> None:
    error = planted(("def noise_latents(", "def noise_latent("))
    assert_told(error, "noise_latent", "no hook has this name", "did you mean 'noise_latents'?")


def test_a_required_hook_that_is_missing(planted: Planted) -> None:
    error = planted(("@hookimpl\ndef predict_noise(", "def _predict_noise("))
    assert_told(error, "predict_noise", "does not answer", "write a function predict_noise")


def test_a_hook_without_its_mark(planted: Planted) -> None:
    error = planted(("@hookimpl\ndef file_metadata(", "def file_metadata("))
    assert_told(error, "file_metadata", "nobody calls it", "mark it with @hookimpl")


def test_a_misspelt_argument(planted: Planted) -> None:
    error = planted(
        ("def encode_images(models: Models, images: Tensor)", "def encode_images(models: Models, image: Tensor)")
    )
    assert_told(error, "encode_images", "no argument 'image'", "did you mean 'images'?")


def test_an_annotation_of_another_type(planted: Planted) -> None:
    error = planted(("captions: Sequence[str]) -> TextCond", "captions: str) -> TextCond"))
    assert_told(error, "encode_text", "'captions' is annotated as something else than", "Sequence[str]")


def test_an_answer_annotated_as_another_type(planted: Planted) -> None:
    error = planted(("images: Tensor) -> Latents:", "images: Tensor) -> Tensor:"))
    assert_told(error, "encode_images", "the answer is annotated as something else", "annotate it as Latents")


def test_torch_at_import(planted: Planted) -> None:
    error = planted(("LORACORE_API = 1", "import torch.nn\n\nLORACORE_API = 1"))
    assert_told(error, "import", f"{MODULE}.py:21", "brings torch", "import it inside the hooks")


def test_an_import_that_raises(planted: Planted) -> None:
    error = planted(("LORACORE_API = 1", "LORACORE_API = 1\nraise OSError('no moon')"))
    assert_told(error, "import", "raises OSError: no moon", "must import")


def test_another_version_of_the_plugin_api(planted: Planted) -> None:
    error = planted(("LORACORE_API = 1", "LORACORE_API = 99"))
    assert_told(error, "LORACORE_API", "was written for plugin API 99", "write LORACORE_API = 1")


def test_an_option_table_that_can_be_changed(planted: Planted) -> None:
    error = planted(("@dataclass(frozen=True, slots=True)", "@dataclass"))
    assert_told(error, "options of ToyOptions", "not frozen", "@dataclass(frozen=True")


def test_an_option_without_help(planted: Planted) -> None:
    error = planted(
        ('toy_width: Annotated[int, option("channels of the toy\'s hidden layer", ge=1)] = 8', "toy_width: int = 8")
    )
    assert_told(error, "options of ToyOptions", "'toy_width'", "Annotated[type, option(")


def test_a_default_outside_the_range(planted: Planted) -> None:
    error = planted(("ge=1)] = 8", "ge=1)] = 0"))
    assert_told(error, "options of ToyOptions", "toy_width, 0", "in the range of the option")


# ---- models ---------------------------------------------------------------------------------------------------------


def test_weights_that_are_not_frozen(planted: Planted) -> None:
    error = planted(
        (
            LOAD,
            LOAD.replace("return ", "found = ")
            + "\n    if found.denoiser:\n        found.denoiser.requires_grad_()\n    return found",
        )
    )
    assert_told(error, "load_models", "unet are not frozen", "requires_grad_(False)")


def test_models_in_training_mode(planted: Planted) -> None:
    error = planted(
        (
            LOAD,
            LOAD.replace("return ", "found = ")
            + "\n    for text in found.text.values():\n        text.train()\n    return found",
        )
    )
    assert_told(error, "load_models", "te1 is in training mode", "call eval()")


def test_a_part_that_is_asked_for_and_missing(planted: Planted) -> None:
    error = planted((LOAD, LOAD.replace("build(parts,", 'build(parts - {"vae"},')))
    assert_told(error, "load_models", 'asked for "vae", it gives none', "load every part that is named")


def test_a_part_that_nobody_asked_for(planted: Planted) -> None:
    error = planted((LOAD, LOAD.replace("build(parts,", 'build(parts | {"vae"},')))
    assert_told(error, "load_models", 'asked for "text" alone, it gives vae too', "leave the other parts")


def test_real_weights_where_none_may_be_read(planted: Planted) -> None:
    error = planted((LOAD, "import torch as t\n\n    " + LOAD.replace("device,", 't.device("cpu"),')))
    assert_told(error, "load_models", "asked for the meta device, te1 has real weights", "from its configuration alone")


def test_another_precision_than_was_asked_for(planted: Planted) -> None:
    error = planted((LOAD, "import torch as t\n\n    " + LOAD.replace("dtype,", "t.float32,")))
    assert_told(error, "load_models", "asked for torch.bfloat16", "with the dtype that is asked for")


def test_models_that_cannot_be_loaded_are_said_once(planted: Planted) -> None:
    error = planted((LOAD, 'raise OSError("the disk is full")'))
    assert_told(error, "load_models", "raises OSError: the disk is full", "mend this line")
    assert len(error.faults) == 1


def test_a_cache_that_is_never_found_again(planted: Planted) -> None:
    hook = "def cache_identity(part):\n    import time\n\n    return f'{part} {time.perf_counter_ns()}'\n"
    error = planted((NAME, f"{NAME}\n\n@hookimpl\n{hook}"))
    assert_told(error, "cache_identity", 'two things of the same "vae"', "the files and options alone")


# ---- encoding -------------------------------------------------------------------------------------------------------


def test_latents_of_another_shape(planted: Planted) -> None:
    shape = "from loracore import Latents as L\n\n    found = toy_models.encode_images(models, images)"
    error = planted((IMAGES, f"{shape}\n    return L(found.mean.flatten(2), found.log_variance.flatten(2))"))
    assert_told(
        error, "encode_images", "mean is [2, 3, 64]", "not B,C,h,w", "return one row of latents for each picture"
    )


def test_a_hook_that_raises_is_named_with_its_line(planted: Planted) -> None:
    error = planted((IMAGES, 'raise ValueError("the moon is full")'))
    line = next(fault.where for fault in error.faults if fault.hook == "encode_images")
    assert_told(error, "encode_images", "raises ValueError: the moon is full", "mend this line")
    assert line == f"{MODULE}.py:58"


def test_a_hook_that_returns_nothing(planted: Planted) -> None:
    error = planted((TEXT, "toy_models.encode_text(models, captions)"))
    assert_told(error, "encode_text", "gives None as its answer", "return the text encoders' outputs")


def test_pictures_that_are_written_into(planted: Planted) -> None:
    error = planted((IMAGES, "return toy_models.encode_images(models, images.mul_(0.5))"))
    assert_told(error, "encode_images", "writes into what it is given: images", "make a new tensor")


def test_captions_that_are_encoded_with_the_global_generator(planted: Planted) -> None:
    said = 'import torch as t\n\n    said = toy_models.encode_text(models, captions)["pooled"]'
    noisy = f'{said}\n    return TextConditioning({{"pooled": said + t.randn_like(said)}})'
    error = planted((TEXT, noisy), *IMPORTED)
    assert_told(error, "encode_text", "draws from a global generator", "draw in the hooks that have an rng")


def test_captions_that_depend_on_their_neighbours(planted: Planted) -> None:
    said = 'said = toy_models.encode_text(models, captions)["pooled"]'
    error = planted((TEXT, f'{said}\n    return TextConditioning({{"pooled": said - said.mean(0)}})'), *IMPORTED)
    assert_told(error, "encode_text", "a row of pooled depends on the rows beside it", "no mean over B")


# ---- targets --------------------------------------------------------------------------------------------------------


def test_keys_without_prefix(planted: Planted) -> None:
    key = "from dataclasses import replace as r\n\n    found = toy_models.targets(models)"
    cut = 'one.key.replace("lora_te1_", "").replace("_unet", "")'
    error = planted((TARGETS, f"{key}\n    return [r(one, key={cut}) for one in found]"))
    assert_told(error, "lora_targets", "'projection' lacks the prefix of its part, te1", "begin it with lora_te1_")
    assert_told(error, "lora_targets", "'lora_blocks_0_conv' lacks the prefix of its part, unet", "lora_unet_")


def test_a_key_that_is_given_twice(planted: Planted) -> None:
    error = planted((TARGETS, "return [*toy_models.targets(models), toy_models.targets(models)[-1]]"))
    assert_told(error, "lora_targets", "'lora_unet_blocks_1_mix' is given 2 times", "a key of its own")


def test_a_key_with_the_dots_of_its_path(planted: Planted) -> None:
    key = "from dataclasses import replace as r\n\n    found = toy_models.targets(models)"
    error = planted((TARGETS, f'{key}\n    return [r(one, key=one.key + ".up") for one in found]'))
    assert_told(error, "lora_targets", "has a dot", "write _ for the dots")


def test_a_path_that_leads_elsewhere(planted: Planted) -> None:
    path = "from dataclasses import replace as r\n\n    found = toy_models.targets(models)"
    error = planted((TARGETS, f'{path}\n    return [r(one, paths=("blocks",)) for one in found]'))
    assert_told(error, "lora_targets", "the path 'blocks' does not lead to its layer", "the very modules")


def test_a_mark_on_an_adapter_that_trains(planted: Planted) -> None:
    mark = "from dataclasses import replace as r\n\n    found = toy_models.targets(models)"
    error = planted((TARGETS, f"{mark}\n    return [r(found[-1], expected_unused=True), *found[:-1]]"))
    assert_told(error, "lora_targets", "lora_unet_blocks_1_mix: marked as expected_unused", "take the mark away")


# ---- a step ---------------------------------------------------------------------------------------------------------


def test_a_batch_that_is_written_into(planted: Planted) -> None:
    error = planted((NOISY, f"{NOISY}    batch.latents.mul_(0.5)\n"))
    assert_told(error, "noise_latents", "writes into what it is given: batch.latents", "make a new tensor")


def test_a_noisy_batch_that_is_written_into(planted: Planted) -> None:
    error = planted((PREDICTION, f"batch.noisy_latents.add_(1)\n    {PREDICTION}"))
    assert_told(error, "predict_noise", "writes into what it is given: batch.noisy_latents", "make a new tensor")


def test_state_between_calls(planted: Planted) -> None:
    kept = PREDICTION.replace("batch.sigma", "batch.sigma + _kept(batch)")
    keeper = (
        "\n_KEPT = [0]\n\n\ndef _kept(batch):\n    last, _KEPT[0] = _KEPT[0], float(batch.sigma[0])\n    return last\n"
    )
    error = planted((PREDICTION, kept), ("\nLORACORE_API", f"{keeper}\nLORACORE_API"))
    assert_told(error, "predict_noise", "keeps something between calls", "keep nothing in the module")


def test_an_answer_that_is_kept_for_the_next_batch(planted: Planted) -> None:
    kept = f"if not _KEPT:\n        _KEPT.append({PREDICTION.removeprefix('return ')})\n    return _KEPT[0]"
    error = planted((PREDICTION, kept), ("\nLORACORE_API", "\n_KEPT = []\nLORACORE_API"))
    assert_told(error, "predict_noise", "says the same of another batch", "this batch's noisy latents")


def test_a_prediction_with_the_global_generator(planted: Planted) -> None:
    error = planted(
        (PREDICTION, f"import torch as t\n\n    {PREDICTION.replace('batch.sigma', 'batch.sigma * t.rand(1)')}")
    )
    assert_told(error, "predict_noise", "draws from a global generator", "from that")


def test_a_gradient_that_is_cut(planted: Planted) -> None:
    error = planted((PREDICTION, PREDICTION.replace("pooled)", "pooled).detach()")))
    assert_told(error, "predict_noise", "the output has no gradient", "without .detach()")


def test_a_gradient_of_the_text_encoders_that_is_cut(planted: Planted) -> None:
    error = planted((PREDICTION, PREDICTION.replace("pooled)", "pooled.detach())")))
    assert_told(error, "encode_text", "no adapter of te1 gets a gradient", "without .detach()")


def test_an_output_of_another_shape(planted: Planted) -> None:
    error = planted((PREDICTION, PREDICTION.replace("pooled),", "pooled)[:, :1],")))
    assert_told(error, "predict_noise", "output is [2, 1, 8, 8], not B,C,h,w like the latents", "return output as")


def test_timesteps_beyond_their_range(planted: Planted) -> None:
    error = planted((NAME, f"{NAME}\n\n@hookimpl\ndef draw_timesteps(rng):\n    return rng.uniform() * 1100\n"))
    assert_told(error, "draw_timesteps", "outside [0, 1000]", "clamp what is drawn")


def test_noise_from_the_global_generator(planted: Planted) -> None:
    hook = "def draw_noise(batch):\n    import torch as t\n\n    return t.randn_like(batch.latents)\n"
    error = planted((NAME, f"{NAME}\n\n@hookimpl\n{hook}"))
    assert_told(error, "draw_noise", "draws from a global generator", "draw from rng")


def test_weights_of_the_loss_for_every_pixel(planted: Planted) -> None:
    hook = "def loss_weighting(prediction):\n    return prediction.target.abs()\n"
    error = planted((NAME, f"{NAME}\n\n@hookimpl\n{hook}"))
    assert_told(error, "loss_weighting", "the weighting is [2, 3, 8, 8], not B: [2]", "return the weighting as B")


# ---- whole runs ---------------------------------------------------------------------------------------------------


def counting(*more: str) -> tuple[tuple[str, str], ...]:
    """Return changes by which every prediction that adapters have a part in scales what comes next."""
    counts = PREDICTION.replace("return ", "answer = ") + "\n    _CALLS[0] += answer.output.requires_grad"
    scaled = f"{counts}\n    return Prediction(answer.output * _CALLS[0], answer.target)"
    return (PREDICTION, scaled), ("\nLORACORE_API", "\n_CALLS = [1]\nLORACORE_API"), (NAME, NAME + "".join(more))


def test_state_between_two_runs(planted: Planted) -> None:
    error = planted(*counting())
    assert_told(error, "a run", "two runs with the same seed end differently", "keep nothing between two runs")


def test_state_between_two_steps_that_a_resumed_run_lacks(planted: Planted) -> None:
    error = planted(*counting("\n\n@hookimpl\ndef run_started():\n    _CALLS[0] = 1\n"))
    assert_told(error, "a resumed run", "ends otherwise than one that never was", "keep nothing between two steps")


# ---- results --------------------------------------------------------------------------------------------------------


def test_pictures_of_another_size(planted: Planted) -> None:
    error = planted((PICTURES, PICTURES.replace("return ", "return [one.resize((9, 9)) for one in ") + "]"))
    assert_told(error, "generate_images", "gives (9, 9) where drawing.size is (64, 64)", "of drawing.size")


def test_metadata_that_are_no_texts(planted: Planted) -> None:
    error = planted((NAME, NAME.replace('"toy"', "1.5")))
    assert_told(error, "file_metadata", "'ss_base_model_version' says 1.5", "return texts")
