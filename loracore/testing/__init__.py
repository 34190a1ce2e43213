"""Give plugin authors what they need to test and demonstrate a plugin.

Everything is imported on first use (PEP 562), so that a test session pays for torch when its first check runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracore.testing.contract.architectures import check_architecture
    from loracore.testing.contract.extensions import check_extension
    from loracore.testing.contract.faults import ContractError, Fault
    from loracore.testing.contract.networks import check_network
    from loracore.testing.installing import install_metadata, toys_installed
    from loracore.testing.tiny_data import write_pictures

_HOMES = {
    "loracore.testing.contract.architectures": ("check_architecture",),
    "loracore.testing.contract.extensions": ("check_extension",),
    "loracore.testing.contract.faults": ("ContractError", "Fault"),
    "loracore.testing.contract.networks": ("check_network",),
    "loracore.testing.installing": ("install_metadata", "toys_installed"),
    "loracore.testing.tiny_data": ("write_pictures",),
}

__all__ = [
    "ContractError",
    "Fault",
    "check_architecture",
    "check_extension",
    "check_network",
    "install_metadata",
    "toys_installed",
    "write_pictures",
]


def __getattr__(name: str) -> Any:  # a module's attribute may be anything
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    message = f"module 'loracore.testing' has no attribute '{name}'"
    raise AttributeError(message)
