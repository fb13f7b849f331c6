"""Starts Gatelet with an agent, and issues client tokens for it."""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from support import running_gatelet  # noqa: E402

PAGE = "https://app.example"


class Scene:
    """A server, an agent there, and who may talk to it."""

    def __init__(self, banner):
        self.url, self.api_key = banner["url"], banner["api_key"]
        self.agent_id = self.post("/v1/agents/", {"name": "Ada", "model": "openai/gpt-4o-mini"})["id"]
        policy = [{"type": "agent", "id": self.agent_id, "access": ["write_messages"]}]
        self.token = self.post("/v1/client-side-access-tokens", {"policy": policy, "hostname": PAGE})["token"]

    def post(self, path, body):
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        with urlopen(Request(self.url + path, json.dumps(body).encode(), headers)) as response:
            return json.load(response)


@pytest.fixture(scope="session")
def scene():
    with running_gatelet() as banner:
        yield Scene(banner)
