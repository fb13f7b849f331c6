"""Picks the SDK generation that this interpreter's environment has installed."""

from importlib import import_module, metadata

import pytest
from support import running_gatelet

IS_FERN = metadata.version("letta-client").startswith("0.")

# Only 1.x has the clients under test there.
collect_ignore = ["test_async.py", "test_resources.py"] if IS_FERN else []


@pytest.fixture(scope="session")
def generation():
    return import_module("fern" if IS_FERN else "stainless")


@pytest.fixture(scope="session")
def gatelet():
    with running_gatelet() as banner:
        yield banner
