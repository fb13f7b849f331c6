"""Every method of the 0.1.x SDK for agents, their memory, tools and messages, through its synchronous and its
asynchronous client.

Each scenario is written once. The last test sees to it that no method is left out.
"""

import asyncio
import inspect
import json
import re
from ast import literal_eval
from functools import wraps

import pytest
from letta_client import AsyncLetta, CreateBlock, Letta, LettaRequest, MessageCreate, UpdateUserMessage
from letta_client.client import BaseTool
from letta_client.core.api_error import ApiError
from pydantic import BaseModel, Field

MODELS = {"model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small"}
ROLL = 'def roll(sides: int) -> str:\n    """Rolls a die.\n\n    Args:\n        sides (int): how many\n    """\n    return "six"\n'
KINDS = {"synchronous": Letta, "asynchronous": AsyncLetta}
# Composio is gone from Letta, MCP servers are no tools, and raw responses are the same methods again.
OTHERS = re.compile("^_|with_raw_response|composio|mcp")
# The asynchronous client's connections live as long as their loop.
LOOP = asyncio.Runner()


class Recorder:
    """A client that keeps which of its methods were called."""

    def __init__(self, kind, gatelet):
        self.client = KINDS[kind](base_url=gatelet["url"], token=gatelet["api_key"])
        self.called, self.methods = set(), set()
        agents = self.client.agents
        resources = {"agents": agents, "blocks": self.client.blocks, "tools": self.client.tools}
        own = ["blocks", "messages", "passages", "tools"]
        for path, resource in {**resources, **{f"agents.{name}": getattr(agents, name) for name in own}}.items():
            for name, method in inspect.getmembers(type(resource), inspect.isfunction):
                if not OTHERS.search(name):
                    self.methods.add(f"{path}.{name}")
                    setattr(resource, name, self._recorded(getattr(resource, name), f"{path}.{name}"))

    def _recorded(self, method, path):
        @wraps(method)
        def call(*args, **kwargs):
            self.called.add(path)
            return method(*args, **kwargs)

        return call


async def got(value):
    """What a call of either client comes to; all events of a stream."""
    value = await value if inspect.isawaitable(value) else value
    if hasattr(value, "__aiter__"):
        return [each async for each in value]
    return list(value) if inspect.isgenerator(value) else value


async def refused(status, value):
    """Expects that a call is refused with this status."""
    with pytest.raises(ApiError) as refusal:
        await got(value())
    assert refusal.value.status_code == status


def ids(items):
    return [each.id for each in items]


@pytest.fixture(scope="module", params=KINDS)
def recorder(request, gatelet):
    return Recorder(request.param, gatelet)


def scenario(steps):
    """A test that takes a client and a fresh agent."""

    def test(recorder):
        async def run():
            blocks = [CreateBlock(label="human", value="Sam")]
            agent = await got(recorder.client.agents.create(name=steps.__name__, memory_blocks=blocks, **MODELS))
            await steps(recorder.client, agent)

        LOOP.run(run())

    return test


@scenario
async def test_agents(client, agent):
    agents = client.agents
    changed = await got(agents.modify(agent.id, description="Changed", tags=[agent.id]))
    assert (changed.description, changed.tags) == ("Changed", [agent.id])
    full = await got(agents.retrieve(agent.id, include_relationships=["memory"]))
    assert full.memory.blocks[0].value == "Sam"
    assert ids(await got(agents.list(tags=[agent.id]))) == [agent.id]
    count = await got(agents.count())
    found = await got(agents.search(search=[{"field": "name", "operator": "eq", "value": agent.name}]))
    assert found.agents
    # An agent file is an object, of which the SDK makes a Python literal.
    file = json.dumps(literal_eval(str(await got(agents.export_file(agent.id)))))
    imported = await got(agents.import_file(file=("agent.af", file.encode())))
    assert (await got(agents.retrieve(imported.agent_ids[0]))).name == f"{agent.name}_copy"
    assert await got(agents.count()) == count + 1
    await got(agents.delete(agent.id))
    await refused(404, lambda: agents.retrieve(agent.id))


@scenario
async def test_blocks(client, agent):
    blocks, own = client.blocks, client.agents.blocks
    count = await got(blocks.count())
    block = await got(blocks.create(label="note", value="one"))
    assert await got(blocks.count()) == count + 1
    assert (await got(blocks.modify(block.id, value="two"))).value == "two"
    assert (await got(blocks.retrieve(block.id))).value == "two"
    assert ids(await got(blocks.list(label="note"))) == [block.id]
    attached = await got(own.attach(agent.id, block.id))
    assert sorted(each.label for each in attached.memory.blocks) == ["human", "note"]
    assert (await got(own.modify(agent.id, "note", value="three"))).value == "three"
    assert (await got(own.retrieve(agent.id, "note"))).id == block.id
    assert len(await got(own.list(agent.id))) == 2
    detached = await got(own.detach(agent.id, block.id))
    assert [each.label for each in detached.memory.blocks] == ["human"]
    await got(blocks.delete(block.id))
    await refused(404, lambda: blocks.retrieve(block.id))


def flip_coin(times: int) -> str:
    """Flips a coin.

    Args:
        times (int): how often
    """
    return "heads"


class Cards(BaseModel):
    cards: int = Field(description="how many")


class DealCards(BaseTool):
    name: str = "deal_cards"
    args_schema: type[BaseModel] = Cards

    def run(self, cards: int) -> str:
        """Deals cards."""
        return "ace"


@scenario
async def test_tools(client, agent):
    tools, own = client.tools, client.agents.tools
    assert await got(tools.upsert_base_tools())
    count = await got(tools.count())
    tool = await got(tools.create(source_code=ROLL))
    assert tool.name == "roll" and await got(tools.count()) == count + 1
    assert (await got(tools.upsert(source_code=ROLL, description="A die"))).id == tool.id
    assert (await got(tools.modify(tool.id, return_char_limit=99))).return_char_limit == 99
    assert (await got(tools.retrieve(tool.id))).description == "A die"
    assert ids(await got(tools.list(name="roll"))) == [tool.id]
    ran = await got(tools.run_tool_from_source(source_code=ROLL, args={"sides": 6}))
    assert (ran.status, ran.tool_return) == ("success", "six")
    flip = await got(tools.create_from_function(func=flip_coin))
    assert (flip.name, flip.json_schema["parameters"]["required"]) == ("flip_coin", ["times"])
    assert (await got(tools.upsert_from_function(func=flip_coin, description="A coin"))).id == flip.id
    deal = await got(tools.add(tool=DealCards()))
    assert (deal.name, deal.json_schema["parameters"]["required"]) == ("deal_cards", ["cards"])
    for each in [flip, deal]:
        await got(tools.delete(each.id))
    await got(own.attach(agent.id, tool.id))
    assert tool.id in ids(await got(own.list(agent.id)))
    approved = await got(own.modify_approval(agent.id, "roll", requires_approval=True))
    assert [(rule.type, rule.tool_name) for rule in approved.tool_rules] == [("requires_approval", "roll")]
    await got(own.detach(agent.id, tool.id))
    assert tool.id not in ids(await got(own.list(agent.id)))
    await got(tools.delete(tool.id))
    await refused(404, lambda: tools.retrieve(tool.id))


@scenario
async def test_passages(client, agent):
    passages = client.agents.passages
    [tea] = await got(passages.create(agent.id, text="Sam likes tea", tags=["food"]))
    [rome] = await got(passages.create(agent.id, text="Rome"))
    assert ids(await got(passages.list(agent.id))) == [tea.id, rome.id]
    assert (await got(passages.search(agent.id, query="tea"))).results[0].content == "Sam likes tea"
    # Letta lists this operation and does not have it.
    with pytest.raises(ApiError):
        await got(passages.modify(agent.id, tea.id))
    await got(passages.delete(agent.id, tea.id))
    assert ids(await got(passages.list(agent.id))) == [rome.id]


@scenario
async def test_older_agents(client, agent):
    messages = client.agents.messages
    hello = [MessageCreate(role="user", content="Hello")]
    older = await got(client.agents.create(agent_type="memgpt_agent", **MODELS))
    for flag, shown in [(True, "assistant_message"), (False, "tool_call_message")]:
        answer = await got(messages.create(older.id, messages=hello, use_assistant_message=flag))
        assert answer.messages[1].message_type == shown
        assert answer.messages[1] in await got(messages.list(older.id, use_assistant_message=flag))


@scenario
async def test_messages(client, agent):
    messages = client.agents.messages
    hello = [MessageCreate(role="user", content="Hello")]
    answer = await got(messages.create(agent.id, messages=hello))
    said = [each for each in answer.messages if each.message_type == "assistant_message"]
    assert [each.content for each in said] == ["Echo: Hello"] and answer.stop_reason.stop_reason == "end_turn"
    for stream_tokens in [False, True]:
        events = await got(messages.create_stream(agent.id, messages=hello, stream_tokens=stream_tokens))
        pieces = [each.content for each in events if each.message_type == "assistant_message"]
        assert "".join(pieces) == "Echo: Hello" and events[-1].message_type == "usage_statistics"
    assert said[0].id in ids(await got(messages.list(agent.id)))
    assert await got(messages.search(query="Hello"))
    await refused(405, lambda: messages.modify(agent.id, said[0].id, request=UpdateUserMessage(content="Other")))
    await got(messages.preview(agent.id, request=LettaRequest(messages=hello)))
    run = await got(messages.create_async(agent.id, messages=hello))
    await got(messages.cancel(agent.id, run_ids=[run.id]))
    await got(messages.summarize(agent.id, max_message_length=10))
    # The SDK sends no body, and Letta has come to need one.
    await refused(422, lambda: messages.reset(agent.id))


def test_every_method_was_called(recorder):
    assert recorder.called == recorder.methods, sorted(recorder.methods - recorder.called)
