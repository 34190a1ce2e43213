"""The pieces of the toy architecture's source in which tests plant their faults."""

from __future__ import annotations

from functools import partial

from tests.planting import assert_told_at

MODULE = "planted_toy_architecture"
LOAD = "return toy_models.build(parts, device, dtype, config[ToyOptions].toy_width)"
TEXT = "return toy_models.encode_text(models, captions)"
IMAGES = "return toy_models.encode_images(models, images)"
TARGETS = "return toy_models.targets(models)"
NOISY = "    mixed = sigma[:, None, None, None]\n"
PREDICTION = "return Prediction(models.denoiser(batch.noisy_latents, batch.sigma, pooled), batch.noise)"
PICTURES = "return toy_pictures.generate(models, conditioning, negative, drawing, rng)"
NAME = 'return {"ss_base_model_version": "toy"}\n'

assert_told = partial(assert_told_at, rf"{MODULE}\.py(:\d+)?")
