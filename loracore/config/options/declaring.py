"""How an option is declared: ``name: Annotated[type, option("help", …)] = default`` in a frozen dataclass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

#: What a cached tensor may depend on.
CacheKind = Literal["latents", "text"]


def option(  # noqa: PLR0913  # one keyword for each thing that can be said of an option
    help: str,  # noqa: A002  # the field's word for it
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    network_arg: bool = False,
    affects: Iterable[CacheKind] = (),
    hashed_as: str | None = None,
    neutral: bool = False,
    secret: bool = False,
    place: bool = False,
) -> Any:  # pydantic's FieldInfo, which is no type for annotations
    """Return the annotation of an option: one line of help, its range, and how else it may be given.

    ``network_arg`` opens the second door: ``network_args = ["name=value"]``. ``affects`` names the caches whose entries
    depend on the value. ``hashed_as`` is for a model's file: saved files tell name (ss_<hashed_as>_name) and hashes.
    ``neutral`` changes nothing in what is trained: a run may be resumed with another value. ``secret`` values are
    written nowhere. A ``place`` says where files lie on somebody's machine: it is not sent to trackers.
    """
    extra: dict[str, Any] = {
        "network_arg": network_arg,
        "affects": sorted(affects),
        "hashed_as": hashed_as,
        "neutral": neutral,
        "secret": secret,
        "place": place,
    }
    return Field(description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)
