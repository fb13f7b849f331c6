"""What the tests of the Python package share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatelet import start_gatelet

ROOT = Path(__file__).resolve().parents[3]
DIST = Path(os.environ.get("DIST", ROOT / "dist"))

SEED = {
    "agent": [{"ref": "helper", "name": "helper", "model": "openai/gpt-4o-mini"}],
    "token": [
        {
            "ref": "page",
            "agent": "helper",
            "access": ["read_messages", "write_messages"],
            "hostname": "http://localhost:3000",
        }
    ],
}


@pytest.fixture(scope="session")
def server():
    with start_gatelet() as server:
        yield server


@pytest.fixture
def namespace(server):
    with server.namespace(seed=SEED) as namespace:
        yield namespace


@pytest.fixture
def run(tmp_path):
    """Runs a command as a user does, with none of this developer's settings. Returns its output if its code is expected."""

    def run(*command, expect=0, env=None, cwd=tmp_path):
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("GATELET_", "LETTA_", "PYTEST_"))
        }
        result = subprocess.run(
            [os.fspath(part) for part in command], cwd=cwd, env=inherited | (env or {}), capture_output=True, text=True
        )
        output = result.stdout + result.stderr
        assert result.returncode == expect, output
        return output

    return run


@pytest.fixture
def run_tests(run, tmp_path):
    """Runs a file of tests by pytest, in a process of its own."""

    def run_tests(source, *arguments, expect=0, env=None):
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_it.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *arguments, "test_it.py"]
        return run(*command, expect=expect, env=env)

    return run_tests


def page(namespace):
    """The SDK as a page uses it."""
    from letta_client import Letta

    token, origin = namespace.tokens["page"].token, {"Origin": "http://localhost:3000"}
    return Letta(base_url=namespace.base_url, api_key=token, default_headers=origin)
