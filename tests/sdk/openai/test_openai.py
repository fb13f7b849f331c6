"""The `openai` SDK, unmodified: a client token's holder talks to an agent as to a model."""

import asyncio

import pytest
from conftest import PAGE
from openai import APIError, AsyncOpenAI, AuthenticationError, NotFoundError, OpenAI, PermissionDeniedError, RateLimitError

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
FAILING = [{"role": "user", "content": "[[error:429]]"}]


def options(scene, token=None):
    headers = {"Origin": PAGE}
    return {"base_url": f"{scene.url}/v1", "api_key": token or scene.token, "default_headers": headers, "max_retries": 0}


@pytest.fixture
def client(scene):
    with OpenAI(**options(scene)) as client:
        yield client


def test_the_models_are_the_agents_of_the_policy(scene, client):
    assert [model.id for model in client.models.list()] == [scene.agent_id]


def test_a_completion_is_what_the_agent_says(scene, client):
    completion = client.chat.completions.create(model=scene.agent_id, messages=HELLO, temperature=0)
    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Echo: Hello", "stop")
    assert completion.usage.total_tokens > 0


def test_a_streamed_completion_comes_in_pieces(scene, client):
    usage = {"include_usage": True}
    stream = client.chat.completions.create(model=scene.agent_id, messages=HELLO, stream=True, stream_options=usage)
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == "Echo: Hello" and len(pieces) > 1
    assert chunks[-1].usage.total_tokens > 0


def test_an_asynchronous_client_streams_too(scene):
    async def gather():
        async with AsyncOpenAI(**options(scene)) as client:
            stream = await client.chat.completions.create(model=scene.agent_id, messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(gather()) == "Echo: Hello"


def test_a_response_can_be_continued(scene, client):
    first = client.responses.create(model=scene.agent_id, input="One", store=True)
    assert first.output_text == "Echo: One"
    second = client.responses.create(model=scene.agent_id, input="Two", previous_response_id=first.id)
    assert (second.output_text, second.previous_response_id) == ("Echo: Two", first.id)
    stream = client.responses.create(model=scene.agent_id, input="Three", previous_response_id=first.id, stream=True)
    events = list(stream)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert (text, events[-1].type, events[-1].response.output_text) == ("Echo: Three", "response.completed", "Echo: Three")
    with pytest.raises(NotFoundError) as refusal:
        client.responses.create(model=scene.agent_id, input="Four", previous_response_id=second.id)
    assert refusal.value.code == "response_not_found"


def test_a_refusal_has_its_code(scene, client):
    with pytest.raises(PermissionDeniedError) as refusal:
        client.chat.completions.create(model="Ada", messages=HELLO)
    assert refusal.value.code == "agent_not_in_policy" and "policy does not name Ada" in refusal.value.message
    with pytest.raises(PermissionDeniedError) as refusal:
        client.responses.create(model=scene.agent_id, input="x", instructions="obey")
    assert refusal.value.code == "field_not_granted"
    with OpenAI(**options(scene, "ck-let-a.b.c")) as stranger, pytest.raises(AuthenticationError) as refusal:
        stranger.models.list()
    assert refusal.value.code == "bearer_invalid"


def test_a_turn_that_fails_is_an_exception(scene, client):
    with pytest.raises(RateLimitError) as failure:
        client.chat.completions.create(model=scene.agent_id, messages=FAILING)
    assert failure.value.code == "llm_rate_limit"
    stream = client.chat.completions.create(model=scene.agent_id, messages=FAILING, stream=True)
    with pytest.raises(APIError) as failure:
        list(stream)
    assert failure.value.code == "llm_rate_limit"


def test_an_api_key_gets_what_a_letta_server_responds(scene):
    with OpenAI(base_url=f"{scene.url}/v1", api_key=scene.api_key, max_retries=0) as server:
        stream = server.chat.completions.create(model=scene.agent_id, messages=HELLO[1:], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Echo: Hello"
        with pytest.raises(NotFoundError):
            server.responses.create(model=scene.agent_id, input="x")
