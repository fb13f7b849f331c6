"""What the SDK tests do not ask of a real Letta: that what a page may read is answered as Letta answers it, that
streams pass byte for byte and end with their token, that ids are proven, and that credentials stay where they are."""

import json
import os
import subprocess

import httpx
import pytest
from conftest import PAGE, directly
from letta_client import NotFoundError, PermissionDeniedError
from support import until


@pytest.fixture(scope="module")
def agent(letta):
    return letta.create_agent(name="Ada", memory_blocks=[{"label": "human", "value": "Likes tea."}])


@pytest.fixture(scope="module")
def other(letta):
    return letta.create_agent(name="Eve")


def test_gatelet_is_before_letta(letta):
    assert httpx.get(f"{letta.url}/readyz").json()["checks"]["upstreams"] == {"default": "ok"}
    assert "version" in letta.http().get("/v1/health/").json()


def test_letta_takes_its_own_password_only(letta, agent):
    for bearer in [letta.api_key, letta.token(agent)]:
        with directly(bearer) as client:
            assert client.get(f"/v1/agents/{agent.id}").status_code == 401


def test_both_spellings_of_a_path_are_answered_without_a_redirect(letta, agent):
    with letta.http() as client:
        of_agent = [f"/v1/agents/{agent.id}{rest}" for rest in ["", "/messages", "/core-memory/blocks"]]
        for path in ["/v1/agents", "/v1/models", "/v1/runs", "/v1/blocks", "/v1/tools", "/v1/conversations", *of_agent]:
            for spelling in [path, f"{path}/"]:
                answer = client.get(spelling, params={"agent_id": agent.id} if "conversations" in path else None)
                assert answer.status_code == 200, f"{spelling}: {answer.status_code} {answer.text[:200]}"


def test_a_page_polls_its_asynchronous_run(letta, agent):
    with letta.http(letta.token(agent), PAGE) as page:
        run = page.post(f"/v1/agents/{agent.id}/messages/async", json={"input": "Later"}).json()["id"]
        until("the run is completed", lambda: page.get(f"/v1/runs/{run}").json()["status"] == "completed")
        said = page.get(f"/v1/runs/{run}/messages", params={"order": "asc"}).json()
        assert [each["content"] for each in said] == ["Later", "Echo: Later"]


def test_all_that_a_page_may_read_is_answered_as_letta_answers_it(letta, agent, other):
    """Letta 0.16.8 has not all of the operations; where Gatelet's answer has Letta's status, nothing was in the way."""
    with letta.http(letta.token(agent), PAGE) as page, letta.http(letta.token(other), PAGE) as stranger:
        sent = page.post(f"/v1/agents/{agent.id}/messages", json={"input": "Hello"}).json()
        ids = {
            "agent_id": agent.id,
            "block_label": "human",
            "conversation_id": page.post("/v1/conversations/", params={"agent_id": agent.id}, json={}).json()["id"],
            "run_id": sent["messages"][0]["run_id"],
            "step_id": sent["messages"][0]["step_id"],
        }
        # The list of models is Gatelet's own: every page has one.
        reads = [each for each in readable() if "scheduled" not in each and each != "/v1/models/"]
        assert len(reads) > 25
        succeeded = 0
        for template in reads:
            query = {"query": "tea"} if template.endswith("/search") else {}
            if "{" not in template:
                query = {"agent_id": agent.id}
            path = template.format(**ids)
            answer, real = page.get(path, params=query), directly().get(path, params=query)
            assert answer.status_code == real.status_code, f"{path}: {answer.text[:200]}"
            succeeded += answer.status_code == 200
            refusal = stranger.get(path, params=query)
            assert refusal.status_code in (403, 404), f"{path}: {refusal.status_code} for another page"
        assert succeeded > 20


def readable():
    """Templates of what client tokens may GET."""
    listed = subprocess.run([os.environ["REAL_PROGRAM"], "operations", "--json"], check=True, capture_output=True)
    for operation in json.loads(listed.stdout):
        if operation["method"] == "GET" and operation["client_token"] not in ("never", "public"):
            yield operation["path"]


def test_secrets_do_not_reach_the_page(letta):
    agent = letta.create_agent(name="Keeper", secrets={"TOKEN": "hunter2"})
    seen = letta.http().get(f"/v1/agents/{agent.id}", params={"include": "agent.secrets"})
    assert "hunter2" in seen.text, "Letta should show a back end the secrets"
    with letta.http(letta.token(agent), PAGE) as page:
        for answer in [page.get(f"/v1/agents/{agent.id}"),
                       page.patch(f"/v1/agents/{agent.id}", json={"description": "changed"})]:
            assert answer.status_code == 200, answer.text
            assert "hunter2" not in answer.text


def test_a_page_resumes_its_own_background_stream_and_no_others(letta, agent, other):
    page = letta.page(agent)
    stream = page.agents.messages.stream(agent.id, input="Again and again", background=True, stream_tokens=True)
    events = list(stream)
    assert "".join(e.content for e in events if e.message_type == "assistant_message") == "Echo: Again and again"
    run_id = next(e.run_id for e in events if e.message_type == "assistant_message")

    assert page.runs.retrieve(run_id).agent_id == agent.id
    assert [m.message_type for m in page.runs.messages.list(run_id).items][-1] == "assistant_message"
    with letta.http(letta.token(agent), PAGE) as client:
        resumed = client.post(f"/v1/runs/{run_id}/stream", json={"starting_after": 0})
        real = directly().post(f"/v1/runs/{run_id}/stream", json={"starting_after": 0})
    assert resumed.status_code == 200 and resumed.headers["Content-Type"] == real.headers["Content-Type"]
    assert resumed.content == real.content, "frames should pass as they are"
    assert resumed.text.endswith("data: [DONE]\n\n")

    stranger = letta.page(other)
    for attempt in [lambda: stranger.runs.retrieve(run_id), lambda: stranger.runs.messages.list(run_id)]:
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            attempt()


def test_a_stream_ends_with_its_token(letta, agent):
    token = letta.token(agent)
    slowly = {"input": "Slowly", "stream_tokens": True}
    with letta.http(token, PAGE) as page:
        with page.stream("POST", f"/v1/agents/{agent.id}/messages/stream", json=slowly) as answer:
            lines = answer.iter_lines()
            assert answer.status_code == 200 and any("assistant_message" in line for line in lines)
            assert letta.http().delete(f"/v1/client-side-access-tokens/{token}").status_code == 204
            with pytest.raises(httpx.RemoteProtocolError):
                assert "data: [DONE]" not in list(lines)
        refusal = page.get(f"/v1/agents/{agent.id}/messages")
        assert (refusal.status_code, refusal.json()["code"]) == (401, "token_revoked")


def test_a_page_uses_its_own_conversations(letta, agent, other):
    page = letta.page(agent)
    conversation = page.conversations.create(agent_id=agent.id, summary="tea")
    assert conversation.id in [each.id for each in page.conversations.list(agent_id=agent.id)]
    texts = [event.content for event in page.conversations.messages.create(conversation.id, input="Hello")
             if event.message_type == "assistant_message"]
    assert "".join(texts) == "Echo: Hello"
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        letta.page(other).conversations.retrieve(conversation.id)


def test_a_shared_block_changes_only_with_the_right_to_all_its_agents(letta):
    block = letta.sdk.blocks.create(label="shared", value="tea")
    one, two = (letta.create_agent(name=name, block_ids=[block.id]) for name in ["One", "Two"])
    with pytest.raises(PermissionDeniedError):
        letta.page(one).agents.blocks.update("shared", agent_id=one.id, value="coffee")
    letta.page(one, two).agents.blocks.update("shared", agent_id=one.id, value="coffee")
    assert letta.sdk.blocks.retrieve(block.id).value == "coffee"


def test_a_passage_is_deleted_by_its_own_page_only(letta, agent, other):
    pages = {each.id: letta.http(letta.token(each), PAGE) for each in (agent, other)}
    passages = {id: page.post(f"/v1/agents/{id}/archival-memory", json={"text": "tea"}).json()[0]["id"]
                for id, page in pages.items()}
    for id, page in pages.items():
        for owner, passage in passages.items():
            if owner != id:
                assert page.delete(f"/v1/agents/{id}/archival-memory/{passage}").status_code == 404
    assert pages[agent.id].delete(f"/v1/agents/{agent.id}/archival-memory/{passages[agent.id]}").status_code == 200


def test_a_token_of_a_project_reaches_the_agents_that_letta_keeps_in_it(letta, agent):
    with letta.http() as server:
        in_red = letta.create_agent(name="Red", project_id="red").id
        for project, reached, missing in [("red", in_red, agent.id), ("default", agent.id, in_red)]:
            policy = [{"type": "agent", "id": each, "access": ["read_agent"]} for each in (reached, missing)]
            issued = server.post("/v1/client-side-access-tokens", headers={"X-Project-Id": project},
                                 json={"policy": policy, "hostname": PAGE})
            with letta.http(issued.json()["token"], PAGE) as page:
                assert page.get(f"/v1/agents/{reached}").status_code == 200
                assert page.get(f"/v1/agents/{missing}").status_code == 404
