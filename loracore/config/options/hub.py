"""What is sent to the Hugging Face hub, and fetched from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where results are uploaded to."""

    huggingface_repo_id: Annotated[str | None, option("repository OWNER/NAME that saved files are uploaded to")] = None
    huggingface_repo_type: Annotated[Literal["model", "dataset", "space"], option("kind of the repository")] = "model"
    huggingface_path_in_repo: Annotated[str | None, option("folder in the repository (unset: its root)")] = None
    huggingface_token: Annotated[
        str | None, option("access token; better in its own environment variable or login", secret=True)
    ] = None
    huggingface_repo_visibility: Annotated[
        Literal["public", "private"], option("of a repository that is made for it")
    ] = "private"
    save_state_to_huggingface: Annotated[bool, option("upload states too")] = False
    resume_from_huggingface: Annotated[
        bool, option("resume names a state in a repository: OWNER/NAME/PATH[:REVISION[:TYPE]]")
    ] = False
    async_upload: Annotated[bool, option("upload while training goes on")] = False
