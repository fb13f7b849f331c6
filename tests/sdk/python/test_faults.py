"""What the 1.x SDK, on httpx, reports about each fault: the table in docs/faults.md."""

import httpx
import pytest
from fault_table import CASES, check_column, summary
from letta_client import APIStatusError, Letta

PAGE = "https://app.example"
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def control(gatelet):
    """Calls the control API; skips on a server that has none."""
    headers = {"authorization": f"Bearer {gatelet['api_key']}"}
    with httpx.Client(base_url=f"{gatelet['url']}/_gatelet/v1", headers=headers) as client:
        if client.get(f"{gatelet['url']}/_gatelet/v1").status_code == 404:
            pytest.skip("a gateway has no control API")
        yield client


def described(error, is_broken_off):
    """The outermost error, and the one that lies under it, if it is the same each time."""
    cause = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__
    words = [type(error).__name__]
    if isinstance(error, APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        words += [str(error.status_code), body.get("code")]
    elif cause is not error and not is_broken_off:
        words.append(f"{type(cause).__module__.split('.')[0]}.{type(cause).__name__}")
    return " ".join(word for word in words if word)


def test_each_fault_is_reported_as_the_table_says(gatelet, control):
    reports = {}
    for number, case in enumerate(CASES):
        seed = {
            "agent": [{"ref": "helper", "name": "helper", "model": "openai/gpt-4o-mini"}],
            "token": [
                {"ref": "page", "agent": "helper", "access": ["read_messages", "write_messages"], "hostname": PAGE}
            ],
        }
        body = {"name": f"python-{number}", "seed": seed, "faults": [{"do": case["do"]}]}
        created = control.post("/ns", json=body).raise_for_status().json()
        token, agent = created["tokens"]["page"]["token"], created["refs"]["helper"]
        sdk = Letta(base_url=gatelet["url"], api_key=token, max_retries=0, default_headers={"Origin": PAGE})
        types, error = [], None
        try:
            if case.get("plain"):
                types.append(sdk.agents.messages.create(agent, messages=MESSAGES).stop_reason.stop_reason)
            else:
                with sdk.agents.messages.stream(agent, messages=MESSAGES) as events:
                    for event in events:
                        types.append(getattr(event, "message_type", None) or "?")
        except Exception as thrown:
            error = described(thrown, case.get("is_broken_off"))
        reports[case["name"]] = summary(types, error)
        control.delete(f"/ns/{created['name']}").raise_for_status()
    check_column("Python, SDK 1.x (httpx)", reports)
