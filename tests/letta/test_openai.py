"""The OpenAI API of client tokens before a real Letta server."""

import json

import pytest
from conftest import PAGE
from support import until


@pytest.fixture(scope="module")
def agent(letta):
    return letta.create_agent(name="Ada")


def conversations(letta, agent):
    with letta.http() as client:
        return client.get("/v1/conversations/", params={"agent_id": agent.id}).json()


def completion(agent, text, **fields):
    return {"model": agent.id, "messages": [{"role": "user", "content": text}]} | fields


def data(stream):
    lines = (line.removeprefix("data: ") for line in stream.text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_completion_is_what_the_agent_says_and_leaves_no_conversation(letta, agent):
    before = len(conversations(letta, agent))
    with letta.http(letta.token(agent, access=["write_messages"]), PAGE) as page:
        answer = page.post("/v1/chat/completions", json=completion(agent, "Hello"))
        assert answer.status_code == 200, answer.text
        whole = answer.json()
        assert whole["choices"][0]["message"]["content"] == "Echo: Hello"
        assert whole["choices"][0]["finish_reason"] == "stop" and whole["usage"]["total_tokens"] > 0
        usage = {"include_usage": True}
        stream = page.post("/v1/chat/completions", json=completion(agent, "Hello", stream=True, stream_options=usage))
        assert stream.text.endswith("data: [DONE]\n\n"), stream.text
        chunks = data(stream)
        pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
        assert "".join(piece or "" for piece in pieces) == "Echo: Hello" and len(pieces) > 3, stream.text
        assert chunks[-1]["usage"]["total_tokens"] > 0 and chunks[-2]["choices"][0]["finish_reason"] == "stop"
    until("their conversations are deleted", lambda: len(conversations(letta, agent)) == before)


def test_a_chat_keeps_its_conversation(letta, agent):
    before = {each["id"] for each in conversations(letta, agent)}
    with letta.http(letta.token(agent, access=["write_messages"]), PAGE) as page:
        for text in ["One", "Two"]:
            answer = page.post("/v1/chat/completions", json=completion(agent, text), headers={"X-Letta-Chat-Key": "k"})
            assert answer.json()["choices"][0]["message"]["content"] == f"Echo: {text}", answer.text
    (chat,) = {each["id"] for each in conversations(letta, agent)} - before
    with letta.http() as client:
        said = client.get(f"/v1/conversations/{chat}/messages", params={"order": "asc"}).json()
    assert [each["content"] for each in said if each["message_type"] == "user_message"] == ["One", "Two"]


def test_a_response_is_continued_in_a_fork(letta, agent):
    before = {each["id"] for each in conversations(letta, agent)}
    with letta.http(letta.token(agent, access=["write_messages"]), PAGE) as page:
        first = page.post("/v1/responses", json={"model": agent.id, "input": "One", "store": True}).json()
        assert first["output"][0]["content"][0]["text"] == "Echo: One", first
        for text in ["Two", "Three"]:
            body = {"model": agent.id, "input": text, "store": True, "previous_response_id": first["id"]}
            stream = page.post("/v1/responses", json=body | {"stream": True})
            last = data(stream)[-1]
            assert last["type"] == "response.completed", stream.text
            assert last["response"]["output"][0]["content"][0]["text"] == f"Echo: {text}"
    with letta.http() as client:
        said = []
        for chat in {each["id"] for each in conversations(letta, agent)} - before:
            messages = client.get(f"/v1/conversations/{chat}/messages", params={"order": "asc"}).json()
            said.append([each["content"] for each in messages if each["message_type"] == "user_message"])
    assert sorted(said) == [["One"], ["One", "Three"], ["One", "Two"]]


def test_a_page_that_leaves_in_the_middle_can_go_on(letta, agent):
    before = len(conversations(letta, agent))
    with letta.http(letta.token(agent, access=["write_messages"]), PAGE) as page:
        for headers in [{}, {"X-Letta-Chat-Key": "left"}]:
            body = completion(agent, "Slowly", stream=True)
            with page.stream("POST", "/v1/chat/completions", json=body, headers=headers) as stream:
                next(text for text in stream.iter_text() if "On and on" in text)

        def says_something_else():
            body, headers = completion(agent, "Hello"), {"X-Letta-Chat-Key": "left"}
            return page.post("/v1/chat/completions", json=body, headers=headers).status_code == 200

        until("the chat goes on", says_something_else)
    until("only the chat is left", lambda: len(conversations(letta, agent)) == before + 1)
