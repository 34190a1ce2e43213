"""Options of LoKr beside those that it shares with LoRA; all of them may stand in ``network_args`` too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option


@dataclass(frozen=True, slots=True)
class LokrOptions:
    """How a weight is cut into two factors of a Kronecker product."""

    factor: Annotated[
        int,
        option("largest side of the first factor; -1: as near to the second's as can be", ge=-1, network_arg=True),
    ] = -1
    decompose_both: Annotated[bool, option("low-rank pairs for the first factor too", network_arg=True)] = False
    full_matrix: Annotated[bool, option("no low-rank pairs: both factors whole", network_arg=True)] = False
    unbalanced_factorization: Annotated[
        bool, option("the larger share of the outputs goes to the first factor", network_arg=True)
    ] = False


def findings(config: Config) -> list[Finding]:
    """Return what is wrong or without effect of LoKr's own options."""
    lokr, found = config[LokrOptions], []
    if lokr.factor == 0:
        found.append(Finding("wrong", "factor", "factor is 0", "give -1 or a number from 1"))
    if lokr.decompose_both and lokr.full_matrix:
        message = "without effect: full_matrix leaves no low-rank pairs"
        found.append(Finding("without effect", "decompose_both", message))
    if config[NetworkOptions].dim_from_weights:
        message = "without effect: dim_from_weights takes the factors from the file"
        names = [field.name for field in fields(LokrOptions) if config.given(field.name)]
        found += [Finding("without effect", name, message) for name in names]
    return found
