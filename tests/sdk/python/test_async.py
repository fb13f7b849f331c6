"""The asynchronous client of the 1.x SDK."""

import asyncio

import pytest
from letta_client import AsyncLetta, AuthenticationError

PAGE = "https://app.example"


def test_a_page_streams_until_its_token_is_deleted(gatelet):
    asyncio.run(stream_until_deleted(gatelet))


async def stream_until_deleted(gatelet):
    async with AsyncLetta(base_url=gatelet["url"], api_key=gatelet["api_key"]) as server:
        agent = await server.agents.create(name="Ada", model="openai/gpt-4o-mini", tags=["async"])
        policy = [{"type": "agent", "id": agent.id, "access": ["write_messages"]}]
        token = (await server.access_tokens.create(policy=policy, hostname=PAGE)).token
        assert [each.id async for each in server.agents.list(tags=["async"], limit=1)] == [agent.id]

        async with AsyncLetta(base_url=gatelet["url"], api_key=token, default_headers={"Origin": PAGE}) as page:
            stream = await page.agents.messages.stream(agent.id, input="Hello", stream_tokens=True)
            pieces = [event.content async for event in stream if event.message_type == "assistant_message"]
            assert "".join(pieces) == "Echo: Hello"

            await server.access_tokens.delete(token)
            with pytest.raises(AuthenticationError) as refused:
                await page.agents.messages.create(agent.id, input="Hello?")
            assert refused.value.body["code"] == "token_revoked"
