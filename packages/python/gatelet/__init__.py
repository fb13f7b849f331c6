"""Test front ends for Letta against Gatelet: a faithful mock with real client tokens, and a namespace for each test.

    with start_gatelet() as server, server.namespace(seed="seed.toml") as namespace:
        token = namespace.token("helper", ["write_messages"], hostname="http://localhost:3000")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._binary import find_gatelet_bin
    from ._errors import GateletError, VerificationError
    from ._journal import Journal
    from ._namespace import Namespace
    from ._server import Server, connect_gatelet, start_gatelet
    from ._types import Token

__all__ = [
    "GateletError",
    "Journal",
    "Namespace",
    "Server",
    "Token",
    "VerificationError",
    "connect_gatelet",
    "find_gatelet_bin",
    "start_gatelet",
]

_HOMES = {
    "find_gatelet_bin": "_binary",
    "GateletError": "_errors",
    "VerificationError": "_errors",
    "Journal": "_journal",
    "Namespace": "_namespace",
    "Server": "_server",
    "connect_gatelet": "_server",
    "start_gatelet": "_server",
    "Token": "_types",
}


def __getattr__(name: str) -> Any:
    """Loads what is used: pytest imports this package in every project that has it installed."""
    if home := _HOMES.get(name):
        from importlib import import_module

        return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
