"""Fixtures for pytest: a server for each process of the tests, and a namespace for each test."""

import hashlib
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import Namespace, Server

_namespace = pytest.StashKey["Namespace"]()
_failed = pytest.StashKey[bool]()

MARKER = (
    "gatelet(seed=None, script=None, strict=True, **creation): how the namespace of the fixture `gatelet` begins, and "
    "whether verdicts and unused replies and faults fail the test"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gatelet")
    group.addoption(
        "--gatelet-url",
        metavar="URL",
        help="a Gatelet that runs anyway, instead of starting one; its API key is GATELET_KEY [env: GATELET_URL]",
    )
    group.addoption("--gatelet-binary", metavar="PATH", help="the program to start [env: GATELET_BINARY]")
    parser.addini("gatelet_seed", "the seed of each test that names no other, relative to the root of the tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def gatelet_server(pytestconfig: pytest.Config) -> "Iterator[Server]":
    """The server of this process, and so of this worker of pytest-xdist."""
    from ._server import connect_gatelet, start_gatelet

    url = pytestconfig.getoption("gatelet_url") or os.environ.get("GATELET_URL")
    with connect_gatelet(url) if url else start_gatelet(binary=pytestconfig.getoption("gatelet_binary")) as server:
        yield server


@pytest.fixture
def gatelet(request: pytest.FixtureRequest, gatelet_server: "Server") -> "Iterator[Namespace]":
    """A namespace of its own for this test; the marker `gatelet` says how it begins."""
    options = _options(request.node)
    options.pop("strict", None)
    script = options.pop("script", None)
    namespace = gatelet_server.namespace(_name(request), **{"ids": _digest(request.node.nodeid), **options})
    request.node.stash[_namespace], request.node.stash[_failed] = namespace, False
    if script is not None:
        namespace.script(script)
    yield namespace
    if not (os.environ.get("GATELET_KEEP") == "failed" and request.node.stash[_failed]):
        namespace.delete()


@pytest.fixture
def gatelet_env(gatelet: "Namespace") -> dict[str, str]:
    """The environment of a back end that belongs to this test."""
    return gatelet.env


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that passed, but whose client did wrong, or which did not use what it prepared."""
    result = yield
    namespace = item.stash.get(_namespace, None)
    if namespace and _options(item).get("strict", True):
        from ._report import findings

        if problems := findings(namespace):
            advice = "With @pytest.mark.gatelet(strict=False) the test passes."
            pytest.fail("\n".join([*problems, advice]), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        namespace = item.stash.get(_namespace, None)
        if namespace and call.when == "call":
            report.sections.append((f"gatelet: requests of {namespace.name}", _describe(namespace)))
    return report


def _describe(namespace: "Namespace") -> str:
    from ._errors import GateletError
    from ._report import requests

    try:
        return requests(namespace)
    except GateletError as error:
        # Of a server that has ended, the log says why.
        return "\n".join([str(error), *namespace.server.log[-20:]])


def _options(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say; one on the test comes before one on its class or module."""
    options: dict[str, Any] = {}
    if seed := item.config.getini("gatelet_seed"):
        options["seed"] = item.config.rootpath / seed
    for marker in reversed(list(item.iter_markers("gatelet"))):
        if marker.args:
            raise pytest.UsageError(f"{item.nodeid}: the marker gatelet takes its arguments by name, such as seed=...")
        options |= marker.kwargs
    folder = item.path.parent
    if isinstance(options.get("script"), (str, Path)):
        options["script"] = folder / options["script"]
    if "seed" in options:
        from ._seed import map_paths

        options["seed"] = map_paths(options["seed"], lambda path: folder / path)
    return options


def _name(request: pytest.FixtureRequest) -> str:
    """A name that tells the test, and that no other run on a shared server has."""
    is_shared = bool(request.config.getoption("gatelet_url") or os.environ.get("GATELET_URL"))
    unique = os.urandom(8).hex() if is_shared else ""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:48] or "test"
    return f"{test}-{_digest(request.node.nodeid + unique)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
