"""Starts Gatelet and waits for conditions."""

import json
import os
import re
import subprocess
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

BINARY = os.environ.get("GATELET_BINARY", Path(__file__).parents[3] / "target/debug/gatelet")


@contextmanager
def running_gatelet(*flags):
    """A `gatelet serve` on a free port with nothing but memory behind it, as its banner: `url` and `api_key`."""
    # The developer's own settings do not reach it: a test means what it says on any machine.
    environment = {name: value for name, value in os.environ.items() if not re.match("(GATELET|LETTA)_", name)}
    command = [BINARY, "serve", "--ephemeral", "--listen", "127.0.0.1:0", "--log-format", "json", *flags]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline()
            if not line:
                log.seek(0)
                pytest.fail(f"Gatelet ended before it was ready; its log:\n{log.read()}")
            yield json.loads(line)
        finally:
            server.terminate()
            code = server.wait()
        assert code == 0, "Gatelet should stop with 0 when asked to"


def until(what, condition):
    """Asks again until `condition` gives something truthy, and returns that."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"gave up waiting until {what}")


def in_seconds(seconds):
    """The moment `seconds` from now, as tokens take it in `expires_at`."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()
