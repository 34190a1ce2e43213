"""A toy architecture with pieces of its source replaced, installed for a test, and what its contract check says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loracore.testing import ContractError, check_architecture, install_metadata, toy

#: Replaces pieces of the toy's source, checks the plugin that this makes, and gives what is said of it.
Planted = Callable[..., ContractError]

MODULE = "planted_toy_architecture"
LOAD = "return toy_models.build(parts, device, dtype, config[ToyOptions].toy_width)"
TEXT = "return toy_models.encode_text(models, captions)"
IMAGES = "return toy_models.encode_images(models, images)"
TARGETS = "return toy_models.targets(models)"
NOISY = "    mixed = sigma[:, None, None, None]\n"
PREDICTION = "return Prediction(models.denoiser(batch.noisy_latents, batch.sigma, pooled), batch.noise)"
PICTURES = "return toy_pictures.generate(models, conditioning, negative, drawing, rng)"
NAME = 'return {"ss_base_model_version": "toy"}\n'


@contextmanager
def planted_toy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    """Give what plants; the module is gone afterwards."""
    site = folder / "site"
    install_metadata(site, "loracore-planted", "0.3", {"loracore.architectures": {"planted": MODULE}})
    monkeypatch.syspath_prepend(str(site))

    def check(*changes: tuple[str, str]) -> ContractError:
        assert toy.__file__ is not None
        source = Path(toy.__file__).read_text(encoding="utf-8")
        for old, new in changes:
            assert source.count(old) == 1
            source = source.replace(old, new)
        (site / f"{MODULE}.py").write_text(source, encoding="utf-8")
        with pytest.raises(ContractError) as caught:
            check_architecture("planted")
        assert str(caught.value).startswith("architecture 'planted' (loracore-planted 0.3) breaks the contract")
        return caught.value

    yield check
    sys.modules.pop(MODULE, None)


def assert_told(error: ContractError, hook: str, *words: str) -> None:
    """Look for a fault of this hook, in the planted file at a line, that says these words."""
    own = [str(fault) for fault in error.faults if fault.hook == hook]
    assert any(all(word in said for word in words) for said in own), str(error)
    assert all(re.search(rf"\({MODULE}\.py(:\d+)?\)", said) for said in own), str(error)
