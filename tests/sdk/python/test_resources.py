"""Every method of the 1.x SDK, through its synchronous and its asynchronous client.

Each scenario is written once. The last test sees to it that no method is left out.
"""

import asyncio
import inspect
import json
from functools import partial, wraps

import letta_client
import pytest
from letta_client import AsyncLetta, Letta

MODELS = {"model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small"}
ROLL = 'def roll(sides: int) -> str:\n    """Rolls a die.\n\n    Args:\n        sides (int): how many\n    """\n    return "six"\n'
NOTHING = "123e4567-e89b-42d3-8456-426614174000"
KINDS = {"synchronous": Letta, "asynchronous": AsyncLetta}


class Recorder:
    """A client that keeps which of its methods were called."""

    def __init__(self, kind, gatelet):
        # Every answer must have the fields and types that the SDK declares.
        self.client = KINDS[kind](
            base_url=gatelet["url"], api_key=gatelet["api_key"], _strict_response_validation=True, max_retries=0
        )
        # Except where there is no body, or another one than declared: an agent file is an object, and declared a text.
        self.lenient = self.client.with_options(_extra_kwargs={"_strict_response_validation": False})
        self.called = set()
        self.methods = set()
        self._watch(self.client, ())
        self._watch(self.lenient, ())

    def _watch(self, resource, path):
        for name, method in inspect.getmembers(type(resource)):
            if name.startswith(("_", "with_", "copy")):
                continue
            if not path and not is_resource(getattr(resource, name, None)):
                continue
            member = getattr(resource, name)
            if is_resource(member):
                self._watch(member, (*path, name))
            elif inspect.isfunction(method):
                self.methods.add((*path, name))
                setattr(resource, name, self._recorded(member, (*path, name)))

    def _recorded(self, method, path):
        @wraps(method)
        def call(*args, **kwargs):
            self.called.add(path)
            return method(*args, **kwargs)

        return call


def is_resource(value):
    return type(value).__module__.startswith("letta_client.resources.") and type(value).__name__.endswith("Resource")


async def got(value):
    """What a call of either client comes to."""
    return await value if inspect.isawaitable(value) else value


async def every(value):
    """All items of a list, through all its pages, or all events of a stream."""
    if hasattr(value, "__aiter__"):
        return [each async for each in value]
    value = await got(value)
    return [each async for each in value] if hasattr(value, "__aiter__") else list(value)


async def ids(value):
    return [each.id for each in await every(value)]


async def missing(call):
    """Expects that what was asked for is not there."""
    with pytest.raises(letta_client.NotFoundError):
        await got(call())


@pytest.fixture(scope="module", params=KINDS)
def recorder(request, gatelet):
    return Recorder(request.param, gatelet)


def scenario(steps):
    """A test that takes a client and a fresh agent."""

    def test(recorder):
        async def run():
            agent = await got(
                recorder.client.agents.create(
                    name=steps.__name__, memory_blocks=[{"label": "human", "value": "Sam"}], tags=["sdk"], **MODELS
                )
            )
            await steps(recorder.client, recorder.lenient, agent)

        LOOP.run(run())

    return test


# The asynchronous client's connections live as long as their loop.
LOOP = asyncio.Runner()


@scenario
async def test_agents(client, lenient, agent):
    changed = await got(client.agents.update(agent.id, description="Changed", tags=["sdk", "more"]))
    assert (changed.description, sorted(changed.tags)) == ("Changed", ["more", "sdk"])
    full = await got(client.agents.retrieve(agent.id, include=["agent.tags", "agent.blocks", "agent.tools"]))
    assert sorted(full.tags) == ["more", "sdk"] and full.blocks[0].value == "Sam" and full.tools
    assert (await got(client.agents.retrieve(agent.id))).blocks == [], "nothing is included unasked"
    assert agent.id in await ids(client.agents.list(tags=["more"], limit=1))
    assert "Sam" in await got(client.agents.recompile(agent.id))

    # The SDK would make a Python literal of it.
    exported = await got(lenient.agents.with_raw_response.export_file(agent.id))
    file = await got(exported.text() if callable(exported.text) else exported.text)
    await got(lenient.agents.export_file(agent.id))
    imported = await got(client.agents.import_file(file=("agent.af", file.encode()), append_copy_suffix=True))
    copy = await got(client.agents.retrieve(imported.agent_ids[0], include=["agent.blocks"]))
    assert (copy.name, copy.blocks[0].value) == (f"{agent.name}_copy", "Sam")
    assert json.loads(file)["agents"][0]["name"] == agent.name

    await got(client.agents.delete(agent.id))
    await missing(lambda: client.agents.retrieve(agent.id))


@scenario
async def test_blocks(client, lenient, agent):
    block = await got(client.blocks.create(label="note", value="one", metadata={"a": [1]}))
    assert (block.label, block.value, block.metadata) == ("note", "one", {"a": [1]})
    assert (await got(client.blocks.update(block.id, value="two"))).value == "two"
    assert (await got(client.blocks.retrieve(block.id))).value == "two"
    assert block.id in await ids(client.blocks.list(label="note", limit=1))
    attached = await got(client.agents.blocks.attach(block.id, agent_id=agent.id))
    assert {each.label for each in attached.blocks} == {"human", "note"}
    assert await ids(client.blocks.agents.list(block.id)) == [agent.id]
    assert sorted(each.label for each in await every(client.agents.blocks.list(agent.id))) == ["human", "note"]
    await got(client.agents.blocks.update("note", agent_id=agent.id, value="three"))
    assert (await got(client.agents.blocks.retrieve("note", agent_id=agent.id))).value == "three"
    assert (await got(client.blocks.retrieve(block.id))).value == "three", "it is one block"
    detached = await got(client.agents.blocks.detach(block.id, agent_id=agent.id))
    assert [each.label for each in detached.blocks] == ["human"]
    await got(client.blocks.delete(block.id))
    await missing(lambda: client.blocks.retrieve(block.id))


@scenario
async def test_tools(client, lenient, agent):
    tool = await got(client.tools.create(source_code=ROLL))
    assert (tool.name, tool.json_schema["parameters"]["required"]) == ("roll", ["sides"])
    assert (await got(client.tools.upsert(source_code=ROLL, description="A die"))).id == tool.id
    assert (await got(client.tools.update(tool.id, return_char_limit=99))).return_char_limit == 99
    assert (await got(client.tools.retrieve(tool.id))).description == "A die"
    assert await ids(client.tools.list(name="roll")) == [tool.id]
    assert tool.id in [each.tool.id for each in await got(client.tools.search(query="die", limit=100))]
    await got(client.agents.tools.attach(tool.id, agent_id=agent.id))
    assert tool.id in await ids(client.agents.tools.list(agent.id))
    ran = await got(client.agents.tools.run("roll", agent_id=agent.id, args={"sides": 6}))
    assert ran.status == "success"
    await got(client.agents.tools.update_approval("roll", agent_id=agent.id, body_requires_approval=True))
    rules = (await got(client.agents.retrieve(agent.id))).tool_rules
    assert [(rule.type, rule.tool_name) for rule in rules] == [("requires_approval", "roll")]
    await got(client.agents.tools.detach(tool.id, agent_id=agent.id))
    assert tool.id not in await ids(client.agents.tools.list(agent.id))
    await got(client.tools.delete(tool.id))
    await missing(lambda: client.tools.retrieve(tool.id))


@scenario
async def test_messages(client, lenient, agent):
    messages = client.agents.messages
    answer = await got(messages.create(agent.id, messages=[{"role": "user", "content": "Hello"}]))
    said = [each for each in answer.messages if each.message_type == "assistant_message"]
    assert [each.content for each in said] == ["Echo: Hello"] and answer.usage.step_count == 1
    for stream in [partial(messages.create, streaming=True), messages.stream]:
        kinds = [each.message_type for each in await every(stream(agent.id, input="Stream"))]
        assert kinds[0] == "ping" and kinds[-2:] == ["stop_reason", "usage_statistics"]
    listed = await every(messages.list(agent.id, limit=3, order="asc"))
    assert [each.content for each in listed if each.message_type == "user_message"] == ["Hello", "Stream", "Stream"]
    run = await got(messages.create_async(agent.id, input="Later"))
    assert run.agent_id == agent.id
    await got(messages.cancel(agent.id, run_ids=[run.id]))
    assert said[0].id in [each.id for each in await got(client.messages.retrieve(said[0].id))]
    assert await got(client.messages.list(limit=2))
    assert await got(client.messages.search(query="Hello", agent_id=agent.id))
    assert (await got(messages.compact(agent.id))).num_messages_before
    await got(messages.reset(agent.id, add_default_initial_messages=False))
    assert [each.message_type for each in await every(messages.list(agent.id))] == ["system_message"]


@scenario
async def test_runs_and_steps(client, lenient, agent):
    answer = await got(client.agents.messages.create(agent.id, input="Hello"))
    run_id, step_id = answer.messages[0].run_id, answer.messages[0].step_id
    assert (await got(client.runs.retrieve(run_id))).status == "completed"
    assert await ids(client.runs.list(agent_id=agent.id)) == [run_id]
    assert (await every(client.runs.messages.list(run_id)))[0].content == "Hello"
    assert await ids(client.runs.steps.list(run_id)) == [step_id]
    usage = await got(client.runs.usage.retrieve(run_id))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    step = await got(client.steps.retrieve(step_id))
    assert (step.run_id, step.status) == (run_id, "success")
    assert await ids(client.steps.list(agent_id=agent.id)) == [step_id]
    assert await every(client.steps.messages.list(step_id))
    assert (await got(client.steps.metrics.retrieve(step_id))).run_id == run_id
    await got(client.steps.trace.retrieve(step_id))
    rated = await got(client.steps.feedback.create(step_id, feedback="positive"))
    assert rated.feedback == "positive"
    assert await ids(client.steps.list(agent_id=agent.id, feedback="positive")) == [step_id]
    first = await every(client.agents.messages.stream(agent.id, input="Beside", background=True, stream_tokens=True))
    again = await every(client.runs.messages.stream(first[0].run_id, starting_after=0))
    assert again == first
    with pytest.raises(letta_client.InternalServerError):
        # As an open-source server without a store of traces.
        await got(client.runs.trace.retrieve(run_id))


@scenario
async def test_conversations(client, lenient, agent):
    conversation = await got(client.conversations.create(agent_id=agent.id, summary="first"))
    messages = client.conversations.messages
    stream = await every(messages.create(conversation.id, input="Hello"))
    assert [each.content for each in stream if each.message_type == "assistant_message"] == ["Echo: Hello"]
    renamed = await got(client.conversations.update(conversation.id, summary="second"))
    assert renamed.summary == "second"
    assert len((await got(client.conversations.retrieve(conversation.id))).in_context_message_ids) >= 3
    assert [each.id for each in await got(client.conversations.list(agent_id=agent.id))] == [conversation.id]
    kinds = {each.message_type for each in (await got(messages.list(conversation.id))).items}
    assert {"system_message", "user_message", "assistant_message"} <= kinds
    assert agent.id in await got(client.conversations.recompile(conversation.id))
    fork = await got(client.conversations.fork(conversation.id))
    assert fork.id != conversation.id
    with pytest.raises(letta_client.ConflictError):
        await got(client.conversations.cancel(fork.id))
    beside = await every(messages.create(conversation.id, input="Beside", background=True))
    again = await every(messages.stream(conversation.id, run_id=beside[0].run_id))
    assert again == beside
    assert (await got(messages.compact(conversation.id))).num_messages_before
    await got(client.conversations.delete(fork.id))
    await missing(lambda: client.conversations.retrieve(fork.id))


@scenario
async def test_archives_and_passages(client, lenient, agent):
    archive = await got(client.archives.create(name=agent.name, embedding=MODELS["embedding"]))
    assert (await got(client.archives.update(archive.id, description="d"))).description == "d"
    assert (await got(client.archives.retrieve(archive.id))).name == agent.name
    assert await ids(client.archives.list(name=agent.name, limit=1)) != []
    await got(client.agents.archives.attach(archive.id, agent_id=agent.id))
    passage = await got(client.archives.passages.create(archive.id, text="Sam likes tea", tags=["food"]))
    more = await got(client.archives.passages.create_many(archive.id, passages=[{"text": "Rome"}, {"text": "Paris"}]))
    assert [each.text for each in more] == ["Rome", "Paris"]
    [own] = await got(client.agents.passages.create(agent.id, text="Sam likes cake", tags=["food"]))
    listed = [each.text for each in await got(client.agents.passages.list(agent.id))]
    assert listed == ["Sam likes tea", "Rome", "Paris", "Sam likes cake"]
    found = await got(client.agents.passages.search(agent.id, query="tea"))
    assert found.results[0].content == "Sam likes tea"
    found = await got(client.passages.search(query="Sam", archive_id=archive.id, tags=["food"]))
    assert {each.passage.id for each in found} == {passage.id, own.id}
    await got(client.agents.passages.delete(own.id, agent_id=agent.id))
    await got(lenient.archives.passages.delete(passage.id, archive_id=archive.id))
    await got(client.agents.archives.detach(archive.id, agent_id=agent.id))
    await got(lenient.archives.delete(archive.id))
    await missing(lambda: client.archives.retrieve(archive.id))


@scenario
async def test_folders_and_files(client, lenient, agent):
    folder = await got(client.folders.create(name=f"papers of {agent.id}", embedding=MODELS["embedding"]))
    assert (await got(client.folders.update(folder.id, description="d"))).description == "d"
    assert (await got(client.folders.retrieve(folder.id))).description == "d"
    assert folder.id in await ids(client.folders.list(limit=1))
    file = await got(client.folders.files.upload(folder.id, file=("note.txt", b"hello file")))
    await until(lambda: client.folders.files.retrieve(file.id, folder_id=folder.id), "processing_status", "completed")
    assert await ids(client.folders.files.list(folder.id)) == [file.id]
    await got(client.agents.folders.attach(folder.id, agent_id=agent.id))
    assert await ids(client.agents.folders.list(agent.id)) == [folder.id]
    assert await got(client.folders.agents.list(folder.id)) == [agent.id]
    assert [each.file_id for each in await every(client.agents.files.list(agent.id))] == [file.id]
    assert await got(client.agents.files.open(file.id, agent_id=agent.id)) == []
    await got(client.agents.files.close(file.id, agent_id=agent.id))
    assert await got(client.agents.files.close_all(agent.id)) == []
    await got(client.agents.folders.detach(folder.id, agent_id=agent.id))
    await got(lenient.folders.files.delete(file.id, folder_id=folder.id))
    await got(client.folders.delete(folder.id))
    await missing(lambda: client.folders.retrieve(folder.id))


async def until(ask, field, value):
    """Asks again until a field has a value."""
    async with asyncio.timeout(30):
        while getattr(await got(ask()), field) != value:
            await asyncio.sleep(0.05)


@scenario
async def test_identities_of_an_agent(client, lenient, agent):
    made = await got(
        client.post(
            "/v1/identities/",
            cast_to=object,
            body={"identifier_key": agent.id, "name": "Sam", "identity_type": "user"},
        )
    )
    await got(client.agents.identities.attach(made["id"], agent_id=agent.id))
    assert await ids(client.agents.list(identity_id=made["id"])) == [agent.id]
    await got(client.agents.identities.detach(made["id"], agent_id=agent.id))
    assert await ids(client.agents.list(identity_id=made["id"])) == []


@scenario
async def test_models_and_tags(client, lenient, agent):
    assert MODELS["model"] in [each.handle for each in await got(client.models.list())]
    assert MODELS["embedding"] in [each.handle for each in await got(client.models.embeddings.list())]
    assert "sdk" in await got(client.tags.list())


@scenario
async def test_mcp_servers(client, lenient, agent):
    config = {"mcp_server_type": "streamable_http", "server_url": "https://mcp.example/"}
    server = await got(client.mcp_servers.create(server_name=f"of {agent.id}", config=config))
    config["server_url"] = "https://other.example/"
    await got(client.mcp_servers.update(server.id, config=config))
    assert (await got(client.mcp_servers.retrieve(server.id))).server_url == config["server_url"]
    assert server.id in [each.id for each in await got(client.mcp_servers.list())]
    await got(client.mcp_servers.refresh(server.id))
    assert await got(client.mcp_servers.tools.list(server.id)) == [], "no configuration gives it any"
    tool = {"tool_id": f"tool-{NOTHING}", "mcp_server_id": server.id}
    await missing(partial(client.mcp_servers.tools.retrieve, **tool))
    await missing(partial(client.mcp_servers.tools.run, args={}, **tool))
    await got(lenient.mcp_servers.delete(server.id))
    await missing(lambda: client.mcp_servers.retrieve(server.id))


@scenario
async def test_schedule(client, lenient, agent):
    made = await got(
        client.agents.schedule.create(
            agent.id,
            messages=[{"role": "user", "content": "Wake up"}],
            schedule={"type": "one-time", "scheduled_at": 4_102_444_800_000},
        )
    )
    assert (await got(client.agents.schedule.retrieve(made.id, agent_id=agent.id))).agent_id == agent.id
    assert [each.id for each in (await got(client.agents.schedule.list(agent.id))).scheduled_messages] == [made.id]
    await got(client.agents.schedule.delete(made.id, agent_id=agent.id))
    await missing(lambda: client.agents.schedule.retrieve(made.id, agent_id=agent.id))


@scenario
async def test_access_tokens(client, lenient, agent):
    policy = [{"type": "agent", "id": agent.id, "access": ["read_messages"]}]
    token = await got(client.access_tokens.create(policy=policy, hostname="https://app.example"))
    assert [each.token for each in (await got(client.access_tokens.list(agent_id=agent.id))).tokens] == [token.token]
    await got(lenient.access_tokens.delete(token.token))


@scenario
async def test_older_agents(client, lenient, agent):
    messages = client.agents.messages
    older = await got(client.agents.create(agent_type="memgpt_v2_agent", **MODELS))
    begun = await every(messages.list(older.id, order="asc"))
    assert json.loads(begun[-1].content)["type"] == "login"
    for flag, shown in [(True, "assistant_message"), (False, "tool_call_message")]:
        answer = await got(messages.create(older.id, input="Hello", use_assistant_message=flag))
        assert answer.messages[1].message_type == shown
        events = await every(messages.stream(older.id, input="Hello", use_assistant_message=flag, stream_tokens=True))
        assert shown in {each.message_type for each in events}
        listed = await every(messages.list(older.id, use_assistant_message=flag))
        assert answer.messages[1] in listed


@scenario
async def test_environments(client, lenient, agent):
    assert await got(client.environments.list())
    await missing(lambda: client.environments.retrieve("device"))
    message = {"role": "user", "content": "Hello"}
    await missing(lambda: client.environments.send_message("connection", messages=[message]))


@scenario
async def test_templates(client, lenient, agent):
    name = agent.id.removeprefix("agent-")
    made = await got(client.templates.create(type="agent", agent_id=agent.id, name=name))
    assert made.name == name
    await got(client.templates.save(name))
    created = await got(client.templates.agents.create(f"{name}:latest", agent_name="sprout"))
    assert (await got(client.agents.retrieve(created.agent_ids[0]))).name == "sprout"
    await got(client.templates.rollback(name, version="1"))
    file = await got(client.get(f"/v1/agents/{agent.id}/export", cast_to=object))
    await got(client.templates.update(name, agent_file_json=file))
    assert (await got(client.templates.delete(name))).success


def test_every_method_was_called(recorder):
    assert recorder.called == recorder.methods, sorted(recorder.methods - recorder.called)
