"""The Hugging Face hub: whether it answers, and one file of a model there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from loracore.diffusion.quiet import quiet_libraries
from loracore.errors import DataError

_PATIENCE = 5.0  # seconds
_SERVER_ERRORS = 500  # HTTP status codes from here on


@cache
def hub_answers() -> bool:
    """Tell whether the hub can be reached; asked once in a process, so that a run without a network waits once."""
    from huggingface_hub import constants, get_session

    try:
        status: int = get_session().head(constants.ENDPOINT, timeout=_PATIENCE).status_code
    except Exception:  # noqa: BLE001  # its HTTP library, and with it the errors, change with the version
        return False
    return status < _SERVER_ERRORS


def hub_file(model: str, path: str) -> Path | None:
    """Return a file of the model ``owner/name`` in the hub's cache, fetched if need be; None when there is none.

    Where the hub cannot be reached, a file that the cache lacks counts as absent. Raises DataError when the model does
    not exist or may not be read, and when the connection breaks.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    online = hub_answers()
    try:
        with quiet_libraries():  # it tells of every attempt
            return Path(hf_hub_download(model, path, local_files_only=not online))
    except EntryNotFoundError as error:
        if online and isinstance(error, LocalEntryNotFoundError):  # its name for a connection that broke
            raise _not_fetched(model, path, error) from error
        return None
    except Exception as error:  # as above
        raise _not_fetched(model, path, error) from error


def absent_model(model: str, file: str) -> DataError:
    """Return the error that neither a folder ``owner/name`` nor the hub's model of that name gives a needed file."""
    if hub_answers():
        message = f"{_no_folder(model)}, and the hub's model of that name has no {file}"
        return DataError(message, fix="check the spelling; a model needs the diffusers layout to be given by its id")
    message = f"{_no_folder(model)}; the hub cannot be reached, and its cache has no such model"
    return DataError(message, fix="check the path; for a model on the hub, connect, without HF_HUB_OFFLINE")


def _not_fetched(model: str, path: str, error: Exception) -> DataError:
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        message = f"the model {model} must be asked for on the hub"
        return DataError(message, fix="accept its licence there, and log in with `hf auth login`")
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        message = f"{_no_folder(model)}, and there is no model of that name on the hub, or it is private"
        return DataError(message, fix="check the spelling, or log in with `hf auth login`")
    message = f"{path} of the model {model} cannot be fetched from the hub: {error}"
    return DataError(message, fix="check the connection and the room on the disk, and run again")


def _no_folder(model: str) -> str:
    """Return that the id is no path, and, where its first half is a folder here, that this one lacks the second."""
    owner, name = model.split("/", 1)
    return f"the folder {owner} holds no {name}" if Path(owner).is_dir() else f"there is no folder {model}"
