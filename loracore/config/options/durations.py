"""Parts of a run as the field writes them: a number of steps, a share of all steps, or a percentage."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def part_of_run(value: Any) -> Any:
    """Return steps as an int, and a share of the run as a float of 0 to 1.

    Text as on the command line: ``12%``, ``0.1``, and whole steps without a point. A number as in a file: floats up to
    1 are shares, as in the field; larger ones must be whole, and are steps. Raises pydantic's error for all others.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return value
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, float) and value > 1:
        if not value.is_integer():
            raise _error(f"{value:g} is neither a whole number of steps nor a share below 1")
        return int(value)
    return value


def _of_text(text: str) -> Any:
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return text  # pydantic says what was expected
    if percent:
        if not 0 <= number <= 100:  # noqa: PLR2004  # all of it
            raise _error(f"{text} is no share of the run: 0% to 100%")
        return number / 100
    if number < 1:
        return number or 0
    try:
        return int(text)
    except ValueError:
        raise _error(f"{text}: write steps as a whole number, a share as 0.1 or 10%") from None


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("value_error", "{message}", {"message": message})


#: Stands behind ``option`` in an annotation.
PART_OF_RUN = BeforeValidator(part_of_run, json_schema_input_type=int | float | str)
