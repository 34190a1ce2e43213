from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args

import pytest
from pydantic import ValidationError

from loracore.config.annotated_fields import adapter_of, annotations_of
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class Sizes:
    width: Annotated[int, option("how wide", ge=1)] = 3


def test_the_annotations_of_a_table_hold_what_its_options_note() -> None:
    kind, noted = get_args(annotations_of(Sizes)["width"])
    assert (kind, noted.description) == (int, "how wide")


def test_each_table_is_read_once() -> None:
    assert annotations_of(Sizes) is annotations_of(Sizes)
    assert adapter_of(Sizes) is adapter_of(Sizes)


def test_the_adapter_of_a_table_checks_its_values() -> None:
    assert adapter_of(Sizes).validate_python({"width": 5}) == Sizes(5)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        adapter_of(Sizes).validate_python({"width": 0})
