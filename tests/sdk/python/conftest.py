"""Picks the SDK generation that this interpreter's environment has installed."""

from importlib import import_module, metadata

import pytest
from support import running_gatelet

IS_FERN = metadata.version("letta-client").startswith("0.")

# What only one generation has, under the names that it has there.
collect_ignore = ["test_async.py", "test_faults.py", "test_resources.py"] if IS_FERN else ["test_fern_resources.py"]


@pytest.fixture(scope="session")
def generation():
    return import_module("fern" if IS_FERN else "stainless")


@pytest.fixture(scope="session")
def gatelet():
    with running_gatelet() as banner:
        yield banner
