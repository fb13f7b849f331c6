"""The mock's answers have the fields and types of the real server's."""

import re

# Gatelet says more in its errors.
GATELETS_OWN = {".code", ".message", ".request_id"}


def requests(client, agent_id):
    """The same requests to either server, as (what, answer); each begins where the one before it ended."""
    agent, missing = f"/v1/agents/{agent_id}", "/v1/agents/agent-00000000-0000-4000-8000-000000000000"
    yield "retrieve", client.get(agent)
    yield "list agents", client.get("/v1/agents/", params={"name": "Same"})
    yield "count agents", client.get("/v1/agents/count")
    yield "update", client.patch(agent, json={"description": "changed"})
    yield "blocks", client.get(f"{agent}/core-memory/blocks")
    yield "block", client.get(f"{agent}/core-memory/blocks/human")
    yield "update a block", client.patch(f"{agent}/core-memory/blocks/human", json={"value": "Likes coffee."})
    sent = client.post(f"{agent}/messages", json={"input": "Hello"})
    yield "send", sent
    yield "messages", client.get(f"{agent}/messages", params={"order": "asc"})
    yield "runs", client.get("/v1/runs/", params={"agent_id": agent_id})
    yield "run", client.get(f"/v1/runs/{sent.json()['messages'][0]['run_id']}")
    yield "cancel nothing", client.post(f"{agent}/messages/cancel", json={})
    yield "no such agent", client.get(missing)
    yield "no such form of id", client.get("/v1/agents/agent-malformed")
    yield "no such block", client.get(f"{agent}/core-memory/blocks/none")
    yield "not JSON", client.post(f"{agent}/messages", content="{", headers={"Content-Type": "application/json"})
    yield "reset", client.patch(f"{agent}/reset-messages", json={"add_default_initial_messages": True})
    yield "delete", client.delete(agent)


def shape(value, at=""):
    """Every path into a JSON value, with its type; of keys that are ids, the kind."""
    if isinstance(value, dict):
        parts = [shape(each, f"{at}.{re.sub('-[0-9a-f-]{36}$', '-ID', key)}") for key, each in value.items()]
        return {at: "object"} | dict(entry for part in parts for entry in part.items())
    if isinstance(value, list):
        return {at: "array"} | dict(entry for each in value for entry in shape(each, f"{at}[]").items())
    return {at: {str: "string", bool: "boolean", int: "number", float: "number"}.get(type(value), "null")}


def differences(real, mocked):
    """Where two answers differ; a null says nothing about what else may be there, and Gatelet's errors say more."""
    real, mocked = shape(real), shape(mocked)
    for path in sorted(real.keys() | mocked.keys() - GATELETS_OWN):
        kinds = {real.get(path, "absent"), mocked.get(path, "absent")}
        if len(kinds) > 1 and "null" not in kinds:
            yield f"{path}: {real.get(path, 'absent')} from Letta, {mocked.get(path, 'absent')} from the mock"


def test_the_mock_answers_like_letta(letta, mock):
    found = []
    blocks = [{"label": "human", "value": "Likes tea."}]
    agents = [server.create_agent(name="Same", memory_blocks=blocks).id for server in (letta, mock)]
    pairs = zip(requests(letta.http(), agents[0]), requests(mock.http(), agents[1]), strict=True)
    for (what, real), (_, mocked) in pairs:
        if mocked.status_code == 501:
            continue  # not mocked
        if real.status_code != mocked.status_code:
            found.append(f"{what}: {real.status_code} from Letta, {mocked.status_code} from the mock")
        found += [f"{what} {each}" for each in differences(real.json(), mocked.json())]
    assert not found, "\n".join(found)
