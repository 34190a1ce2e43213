"""What is said of options for several processes, and of secrets that stand where others can read them."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding
from loracore.config.config import Config
from loracore.config.options import HubOptions, LoggingOptions
from loracore.config.tracker_names import tracker_names

_FLAT = "without effect: gradients are summed as one flat buffer"

#: Secret option → its environment variable and its login.
_PLACES = (("huggingface_token", "HF_TOKEN", "hf auth login"), ("wandb_api_key", "WANDB_API_KEY", "wandb login"))


def process_findings(config: Config) -> Iterator[Finding]:
    """Give the findings."""
    for name in ("ddp_gradient_as_bucket_view", "ddp_static_graph"):
        if config.given(name):
            yield Finding("without effect", name, _FLAT)
    used = {"huggingface_token": _uses_hub(config), "wandb_api_key": _uses_wandb(config)}
    for name, variable, login in _PLACES:
        if config.given(name) and used[name]:
            message = f"{name} is used, and written nowhere; where it stands now, others may read it"
            yield Finding("without effect", name, message, f"set {variable}, or call `{login}` once")


def _uses_hub(config: Config) -> bool:
    hub = config[HubOptions]
    return hub.huggingface_repo_id is not None or hub.resume_from_huggingface


def _uses_wandb(config: Config) -> bool:
    options = config[LoggingOptions]
    return "wandb" in tracker_names(options.log_with, options.logging_dir)
