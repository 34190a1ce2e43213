"""The hub, as far as uploads and resumes use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from loracore.config.options import HubOptions
from loracore.config.secret_values import without_secrets


class HubClient(Protocol):
    """The methods of ``huggingface_hub.HfApi`` that are called here."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Make a repository, or take the one that is there."""

    def upload_file(self, *, path_or_fileobj: Path, path_in_repo: str, repo_id: str, repo_type: str) -> Any:
        """Send a file."""

    def upload_folder(self, *, folder_path: Path, path_in_repo: str, repo_id: str, repo_type: str) -> Any:
        """Send a folder's files."""

    def list_repo_files(self, repo_id: str, *, revision: str | None, repo_type: str) -> list[str]:
        """Return the paths of all files."""

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None, repo_type: str) -> str:
        """Return the path of a file in the hub's cache, fetched if need be."""


def hub_client(options: HubOptions) -> HubClient:
    """Return the real hub; without ``huggingface_token`` it takes the environment's or the login's."""
    from huggingface_hub import HfApi

    return cast("HubClient", HfApi(token=options.huggingface_token))  # its own signatures are wider


def is_final(error: Exception) -> bool:
    """Tell whether trying again cannot help: no such repository, no permission, no network wanted."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return error.response.status_code in {400, 401, 403, 404}
    kinds = (HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError)
    return isinstance(error, kinds)


def reason(error: Exception, options: HubOptions) -> str:
    """Return what went wrong as one line, without the token."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so that the hub is not asked"
    text = " ".join(str(error).split()) or type(error).__name__
    return without_secrets(text, [options.huggingface_token] if options.huggingface_token else [])
