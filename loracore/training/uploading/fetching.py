"""A state on the Hugging Face hub, fetched to resume from it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from loracore.config.config import Config
from loracore.config.hub_places import HubPlace, hub_place
from loracore.config.options import HubOptions, StateOptions
from loracore.errors import ConfigError, LoracoreError
from loracore.training.uploading.client import HubClient, hub_client, reason


def resumed_from_hub(config: Config) -> Config:
    """Return the config with the fetched state in the place of the hub's, where ``resume_from_huggingface`` asks so."""
    if not config[HubOptions].resume_from_huggingface:
        return config
    return config.with_values({"resume": str(fetched_state(config))})


def fetched_state(config: Config, client: HubClient | None = None) -> Path:
    """Return the folder, in the hub's cache, of the state that ``resume`` names on the hub.

    Every file whose path begins as ``resume`` says is fetched. Raises ConfigError for a place that is none, or at which
    there is nothing; LoracoreError where the hub does not give it.
    """
    text, options = config[StateOptions].resume or "", config[HubOptions]
    place, where = hub_place(text), config.place("resume")
    if place is None:
        raise ConfigError(
            f"'{text}' is no place on the hub", where=where, fix="write OWNER/NAME/PATH[:REVISION[:TYPE]]"
        )
    try:
        found = _fetch(place, client or hub_client(options))
    except Exception as error:  # its HTTP library, and with it the errors, change with the version
        message = f"the state {text} cannot be fetched from the hub: {reason(error, options)}"
        raise LoracoreError(
            message, where=where, fix="check name, connection and login, or resume from a folder"
        ) from error
    folders = {folder for folder, _ in found}
    if len(folders) != 1:
        several = f": it may be {', '.join(sorted(map(str, folders)))}" if folders else ""
        message = f"the repository {place.repository} has no state at '{place.path}'{several}"
        raise ConfigError(message, where=where, fix="name the state's folder")
    return found[0][1]


def _fetch(place: HubPlace, client: HubClient) -> list[tuple[PurePosixPath, Path]]:
    """Fetch the files; return the state's folder, there and here, for each of them."""
    names = client.list_repo_files(place.repository, revision=place.revision, repo_type=place.kind)
    begun = [name for name in names if name.startswith(place.path)]
    inside = [name for name in begun if name.startswith(f"{place.path}/")]  # the very folder, if there is one
    found = []
    for name in sorted(inside or begun):
        folder, depth = _folder(PurePosixPath(name), place.path)
        local = client.hf_hub_download(place.repository, name, revision=place.revision, repo_type=place.kind)
        found.append((folder, Path(local).parents[depth]))
    return found


def _folder(name: PurePosixPath, prefix: str) -> tuple[PurePosixPath, int]:
    """Return the folder that the prefix begins the name of, and how far above the file it stands."""
    depth = len(PurePosixPath(prefix).parts)
    above = max(len(name.parts) - depth - 1, 0)
    return name.parents[above], above
