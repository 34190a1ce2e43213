"""What stands in a saved file's header: the field's ss_*, sshs_* and modelspec.* keys, every value as text."""

from __future__ import annotations

from loracore.training.metadata.file_form import file_hashes
from loracore.training.metadata.header import Header, Moment
from loracore.training.metadata.model_hashes import ModelHashes, model_hashes
from loracore.training.metadata.run_values import run_metadata
from loracore.training.metadata.session import Session, new_session

__all__ = ["Header", "ModelHashes", "Moment", "Session", "file_hashes", "model_hashes", "new_session", "run_metadata"]
