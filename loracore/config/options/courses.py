"""Courses of the learning rate that the field's libraries list, but that no run can have: refused with the reason."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_REFUSED = (
    ("reduce_lr_on_plateau", "it follows a measure that is known at times only, not after every step"),
    ("cosine_warmup_with_min_lr", "write cosine_with_min_lr with lr_warmup_steps"),
    ("adafactor", 'optimizer_type = "Adafactor" chooses this course by itself'),
)


def known_course(value: Any) -> Any:
    """Return the name of a course; raises pydantic's error for those that are refused."""
    for name, reason in _REFUSED:
        if isinstance(value, str) and value.partition(":")[0] == name:
            message = f"{name} cannot be chosen: {reason}"
            raise PydanticCustomError("value_error", "{message}", {"message": message})
    return value


#: Stands behind ``option`` in an annotation.
KNOWN_COURSE = BeforeValidator(known_course)
