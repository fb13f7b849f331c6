"""What the SDK tests do not ask of a real Letta: that the mock's answers are like its own, that nothing redirects, that
ids are proven, and that a page can resume its own background stream."""

import re

import httpx
import pytest
from conftest import PAGE
from letta_client import NotFoundError, PermissionDeniedError

GATELETS_OWN = {".code", ".message", ".request_id"}


@pytest.fixture(scope="module")
def agent(letta):
    return letta.create_agent(name="Ada", memory_blocks=[{"label": "human", "value": "Likes tea."}])


def test_gatelet_is_before_letta(letta):
    assert httpx.get(f"{letta.url}/readyz").json()["checks"]["upstreams"] == {"default": "ok"}
    assert "version" in letta.http().get("/v1/health/").json()


def test_both_spellings_of_a_path_are_answered_without_a_redirect(letta, agent):
    with letta.http() as client:
        of_agent = [f"/v1/agents/{agent.id}{rest}" for rest in ["", "/messages", "/core-memory/blocks"]]
        for path in ["/v1/agents", "/v1/models", "/v1/runs", "/v1/blocks", "/v1/tools", "/v1/conversations", *of_agent]:
            for spelling in [path, f"{path}/"]:
                answer = client.get(spelling, params={"agent_id": agent.id} if "conversations" in path else None)
                assert answer.status_code == 200, f"{spelling}: {answer.status_code} {answer.text[:200]}"


def test_secrets_do_not_reach_the_page(letta):
    agent = letta.create_agent(name="Keeper", secrets={"TOKEN": "hunter2"})
    seen = letta.http().get(f"/v1/agents/{agent.id}", params={"include": "agent.secrets"})
    assert "hunter2" in seen.text, "Letta should show a back end the secrets"
    with letta.http(letta.token(agent), PAGE) as page:
        for answer in [page.get(f"/v1/agents/{agent.id}"),
                       page.patch(f"/v1/agents/{agent.id}", json={"description": "changed"})]:
            assert answer.status_code == 200, answer.text
            assert "hunter2" not in answer.text


def test_a_page_resumes_its_own_background_stream_and_no_others(letta, agent):
    page = letta.page(agent)
    stream = page.agents.messages.stream(agent.id, input="Again and again", background=True, stream_tokens=True)
    events = list(stream)
    assert "".join(e.content for e in events if e.message_type == "assistant_message") == "Echo: Again and again"
    run_id = next(e.run_id for e in events if e.message_type == "assistant_message")

    assert page.runs.retrieve(run_id).agent_id == agent.id
    assert [m.message_type for m in page.runs.messages.list(run_id).items][-1] == "assistant_message"
    with letta.http(letta.token(agent), PAGE) as client:
        resumed = client.post(f"/v1/runs/{run_id}/stream", json={"starting_after": 0})
        assert resumed.status_code == 200 and "[DONE]" in resumed.text, resumed.text

    other = letta.create_agent(name="Eve")
    stranger = letta.page(other)
    for attempt in [lambda: stranger.runs.retrieve(run_id), lambda: stranger.runs.messages.list(run_id)]:
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            attempt()


def test_a_page_uses_its_own_conversations(letta, agent):
    page = letta.page(agent)
    conversation = page.conversations.create(agent_id=agent.id, summary="tea")
    assert [each.id for each in page.conversations.list(agent_id=agent.id)] == [conversation.id]
    texts = [event.content for event in page.conversations.messages.create(conversation.id, input="Hello")
             if event.message_type == "assistant_message"]
    assert "".join(texts) == "Echo: Hello"
    stranger = letta.page(letta.create_agent(name="Eve"))
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        stranger.conversations.retrieve(conversation.id)


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
