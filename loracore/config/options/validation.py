"""How well the network does on pictures that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore.config.limits import MOST_STEPS
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """When the validation loss is computed, and what follows from it."""

    validate_every_n_steps: Annotated[
        int | None, option("validate after every n steps; 0: never", ge=0, le=MOST_STEPS)
    ] = None
    validate_every_n_epochs: Annotated[
        int | None,
        option(
            "validate after every n epochs; 0: never (unset: 1, without validate_every_n_steps)", ge=0, le=MOST_STEPS
        ),
    ] = None
    max_validation_steps: Annotated[
        int | None, option("most batches of a validation (unset: all)", ge=1, le=MOST_STEPS)
    ] = None
    keep_best: Annotated[
        int, option("keep the files of so many steps with the smallest validation loss; 0: none", ge=0)
    ] = 0
    early_stopping_patience: Annotated[
        int | None, option("the run ends after so many validations without a better loss (unset: never)", ge=1)
    ] = None
    early_stopping_threshold: Annotated[float, option("how much smaller a better validation loss is", ge=0)] = 0.0

    @property
    def every_n_epochs(self) -> int:
        """After how many epochs is validated; 0: never."""
        if self.validate_every_n_epochs is None:
            return 0 if self.validate_every_n_steps else 1
        return self.validate_every_n_epochs

    @property
    def validates(self) -> bool:
        """Tell whether held-out pictures are ever looked at."""
        return bool(self.validate_every_n_steps or self.every_n_epochs)
