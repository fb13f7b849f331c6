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
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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
            banner = json.loads(line)
            yield banner
            check_verdicts(banner)
        finally:
            server.terminate()
            code = server.wait()
        assert code == 0, "Gatelet should stop with 0 when asked to"


def control(banner, method, path, body=None):
    """A call of the control API; None where there is none, as on a gateway."""
    headers = {"Authorization": f"Bearer {banner['api_key']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{banner['url']}/_gatelet/v1{path}", data, headers, method=method)
    try:
        with urlopen(request) as response:
            return json.load(response)
    except HTTPError as error:
        if error.code == 404 and not path:
            return None
        pytest.fail(f"{method} {path}: {error.read().decode()}")


def allow(banner, namespace="default", **rules):
    """Allows a test to break rules of docs/verdicts.md, each with a reason, in a place of its own."""
    if control(banner, "GET", ""):
        for rule, reason in rules.items():
            control(banner, "POST", f"/ns/{namespace}/verdicts/allow", {"rule": rule, "reason": reason})


def allowing(banner, **rules):
    """A place of its own for a test that breaks rules on purpose, as a banner."""
    if not control(banner, "GET", ""):
        return banner
    namespace = control(banner, "POST", "/ns", {})
    allow(banner, namespace["name"], **rules)
    return {"url": banner["url"], "api_key": namespace["api_key"]}


def check_verdicts(banner):
    """Fails if a rule that is an error was broken in any namespace where that is not allowed."""
    if not control(banner, "GET", ""):
        return
    for namespace in control(banner, "GET", "/ns")["namespaces"]:
        path = f"/ns/{namespace['name']}/verdicts?min=error"
        broken = [each for each in control(banner, "GET", path)["findings"] if each["allowed"] is None]
        assert not broken, f"the clients of this suite break rules: {json.dumps(broken, indent=2)}"


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
