"""Gatelet before Letta, and a mock to compare with; both through the 1.x SDK and as plain HTTP."""

import os

import httpx
import pytest
import stainless
import support

PAGE = "https://app.example"


class Server:
    """A running Gatelet: its SDK client as a back end has it, and what a page would have."""

    def __init__(self, banner):
        self.url, self.api_key = banner["url"], banner["api_key"]
        self.sdk = stainless.Client(self.url, self.api_key).sdk

    def http(self, bearer=None, origin=None):
        """Plain HTTP that follows no redirect, so that there can be none."""
        headers = {"Authorization": f"Bearer {bearer or self.api_key}"} | ({"Origin": origin} if origin else {})
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def create_agent(self, **fields):
        return self.sdk.agents.create(**stainless.MODELS, **fields)

    def token(self, *agents, access=("read_messages", "write_messages", "read_agent", "write_agent")):
        policy = [{"type": "agent", "id": agent.id, "access": list(access)} for agent in agents]
        return self.sdk.access_tokens.create(policy=policy, hostname=PAGE).token

    def page(self, *agents, **access):
        """The SDK with a client token for these agents."""
        return stainless.Client(self.url, self.token(*agents, **access), PAGE).sdk


def directly(bearer=None):
    """Plain HTTP to Letta itself, as nobody but Gatelet should speak to it. It redirects some paths."""
    headers = {"Authorization": f"Bearer {bearer or os.environ['UPSTREAM_PASSWORD']}"}
    return httpx.Client(base_url=os.environ["UPSTREAM_URL"], headers=headers, follow_redirects=True, timeout=60)


@pytest.fixture(scope="session")
def letta():
    """Gatelet before the real Letta."""
    with support.running_gatelet() as banner:
        yield Server(banner)


@pytest.fixture(scope="session")
def mock(tmp_path_factory):
    """Gatelet that answers itself, as a model that does not reason."""
    config = tmp_path_factory.mktemp("mock") / "gatelet.toml"
    config.write_text("[mock]\nreasoning = false\n")
    # support.py reads the program's path once; the wrapper would make a gateway of this one, too.
    wrapper, support.BINARY = support.BINARY, os.environ["REAL_PROGRAM"]
    try:
        with support.running_gatelet("--config", str(config)) as banner:
            yield Server(banner)
    finally:
        support.BINARY = wrapper
