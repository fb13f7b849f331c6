// Every method of the 0.1.x SDK for agents, their memory, tools and messages. The last test sees to it that none is
// left out.

import assert from 'node:assert/strict';
import { after, before, describe, mock, test } from 'node:test';

import { startGatelet } from '../../support/gatelet.mjs';
import { LettaClient, LettaError } from 'letta-client-0.1';

const MODELS = { model: 'openai/gpt-4o-mini', embedding: 'openai/text-embedding-3-small' };
const ROLL = 'def roll(sides: int) -> str:\n    """Rolls a die.\n\n    Args:\n        sides (int): how many\n    """\n    return "six"\n';

const methods = new Set();
const called = new Set();

/** Notes every method of a resource, and every call of one. */
function watch(resource, path) {
  const members = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(resource));
  for (const [name, { value: method }] of Object.entries(members)) {
    // Composio is gone from Letta, and MCP servers are no tools.
    if (typeof method !== 'function' || /^constructor$|^_|composio|mcp/i.test(name)) continue;
    methods.add(`${path}.${name}`);
    resource[name] = (...args) => {
      called.add(`${path}.${name}`);
      return method.apply(resource, args);
    };
  }
}

const ids = (items) => items.map(({ id }) => id);
const status = (code) => (error) => error instanceof LettaError && error.statusCode === code;

describe('every method of SDK 0.1.x for agents', () => {
  let gatelet, client, warnings;

  before(async () => {
    // It checks answers against its own types, and warns.
    warnings = mock.method(console, 'warn', () => {});
    gatelet = await startGatelet();
    client = new LettaClient({ baseUrl: gatelet.url, token: gatelet.apiKey });
    watch(client.agents, 'agents');
    for (const name of ['blocks', 'messages', 'passages', 'tools']) watch(client.agents[name], `agents.${name}`);
    for (const name of ['blocks', 'tools']) watch(client[name], name);
  });
  after(async () => {
    warnings.mock.restore();
    await gatelet?.stop();
  });

  /** A test with a fresh agent. */
  function scenario(name, steps) {
    test(name, async () => {
      const memoryBlocks = [{ label: 'human', value: 'Sam' }];
      await steps(await client.agents.create({ name, memoryBlocks, tags: [name], ...MODELS }));
    });
  }

  scenario('agents', async (agent) => {
    const { agents } = client;
    assert.equal((await agents.modify(agent.id, { description: 'Changed' })).description, 'Changed');
    const full = await agents.retrieve(agent.id, { includeRelationships: ['memory', 'tags'] });
    assert.deepEqual([full.description, full.memory.blocks[0].value, full.tags], ['Changed', 'Sam', ['agents']]);
    assert.deepEqual(ids(await agents.list({ tags: ['agents'] })), [agent.id]);
    const count = await agents.count();
    assert.ok((await agents.search({ search: [{ field: 'name', operator: 'eq', value: 'agents' }] })).agents.length);
    // An agent file is an object, and the SDK takes texts alone.
    await assert.rejects(agents.exportFile(agent.id), /Expected string. Received object/);
    const headers = { Authorization: `Bearer ${gatelet.apiKey}` };
    const file = await (await fetch(`${gatelet.url}/v1/agents/${agent.id}/export`, { headers })).blob();
    const { agentIds } = await agents.importFile(new File([file], 'agent.af'), {});
    assert.equal((await agents.retrieve(agentIds[0])).name, 'agents_copy');
    assert.equal(await agents.count(), count + 1);
    assert.deepEqual((await agents.listAgentFiles(agent.id)).files, []);
    await client.agents.messages.create(agent.id, { messages: [{ role: 'user', content: 'Hello' }] });
    await agents.summarizeAgentConversation(agent.id, { maxMessageLength: 10 });
    await agents.delete(agent.id);
    await assert.rejects(agents.retrieve(agent.id), status(404));
  });

  scenario('blocks', async (agent) => {
    const { blocks } = client;
    const own = client.agents.blocks;
    const count = await blocks.count();
    const block = await blocks.create({ label: 'note', value: 'one' });
    assert.equal(await blocks.count(), count + 1);
    assert.equal((await blocks.modify(block.id, { value: 'two' })).value, 'two');
    assert.equal((await blocks.retrieve(block.id)).value, 'two');
    assert.deepEqual(ids(await blocks.list({ label: 'note' })), [block.id]);
    const labels = (state) => state.memory.blocks.map(({ label }) => label).toSorted();
    assert.deepEqual(labels(await own.attach(agent.id, block.id)), ['human', 'note']);
    assert.equal((await own.modify(agent.id, 'note', { value: 'three' })).value, 'three');
    assert.equal((await own.retrieve(agent.id, 'note')).id, block.id);
    assert.equal((await own.list(agent.id)).length, 2);
    assert.deepEqual(labels(await own.detach(agent.id, block.id)), ['human']);
    await blocks.delete(block.id);
    await assert.rejects(blocks.retrieve(block.id), status(404));
  });

  scenario('tools', async (agent) => {
    const { tools } = client;
    const own = client.agents.tools;
    assert.ok((await tools.upsertBaseTools()).length);
    const count = await tools.count();
    const tool = await tools.create({ sourceCode: ROLL });
    assert.equal(tool.name, 'roll');
    assert.equal(await tools.count(), count + 1);
    assert.equal((await tools.upsert({ sourceCode: ROLL, description: 'A die' })).id, tool.id);
    assert.equal((await tools.modify(tool.id, { returnCharLimit: 99 })).returnCharLimit, 99);
    assert.equal((await tools.retrieve(tool.id)).description, 'A die');
    assert.deepEqual(ids(await tools.list({ name: 'roll' })), [tool.id]);
    const ran = await tools.runToolFromSource({ sourceCode: ROLL, args: { sides: 6 } });
    assert.deepEqual([ran.status, ran.toolReturn], ['success', 'six']);
    await own.attach(agent.id, tool.id);
    assert.ok(ids(await own.list(agent.id)).includes(tool.id));
    const { toolRules } = await own.modifyApproval(agent.id, 'roll', { requiresApproval: true });
    assert.deepEqual(toolRules.map(({ type, toolName }) => [type, toolName]), [['requires_approval', 'roll']]);
    await own.detach(agent.id, tool.id);
    assert.ok(!ids(await own.list(agent.id)).includes(tool.id));
    await tools.delete(tool.id);
    await assert.rejects(tools.retrieve(tool.id), status(404));
  });

  scenario('passages', async (agent) => {
    const { passages } = client.agents;
    const [tea] = await passages.create(agent.id, { text: 'Sam likes tea', tags: ['food'] });
    const [rome] = await passages.create(agent.id, { text: 'Rome' });
    assert.deepEqual(ids(await passages.list(agent.id)), [tea.id, rome.id]);
    assert.equal((await passages.search(agent.id, { query: 'tea' })).results[0].content, 'Sam likes tea');
    // Letta lists this operation and does not have it.
    await assert.rejects(passages.modify(agent.id, tea.id), LettaError);
    await passages.delete(agent.id, tea.id);
    assert.deepEqual(ids(await passages.list(agent.id)), [rome.id]);
  });

  scenario('messages', async (agent) => {
    const { messages } = client.agents;
    const hello = { messages: [{ role: 'user', content: 'Hello' }] };
    const answer = await messages.create(agent.id, hello);
    const said = answer.messages.find(({ messageType }) => messageType === 'assistant_message');
    assert.deepEqual([said.content, answer.stopReason.stopReason], ['Echo: Hello', 'end_turn']);
    for (const streamTokens of [false, true]) {
      const events = [];
      for await (const event of await messages.createStream(agent.id, { ...hello, streamTokens })) events.push(event);
      const pieces = events.filter(({ messageType }) => messageType === 'assistant_message');
      assert.equal(pieces.map(({ content }) => content).join(''), 'Echo: Hello');
      assert.equal(events.at(-1).messageType, 'usage_statistics');
    }
    assert.ok(ids(await messages.list(agent.id)).includes(said.id));
    assert.ok((await messages.search({ query: 'Hello', agentId: agent.id })).length);
    const other = { content: 'Other', messageType: 'user_message' };
    await assert.rejects(messages.modify(agent.id, said.id, other), status(405));
    assert.ok(Object.keys(await messages.previewRawPayload(agent.id, hello)).length);
    const run = await messages.createAsync(agent.id, hello);
    assert.match(run.id, /^run-/);
    await messages.cancel(agent.id, { runIds: [run.id] });
    // The SDK sends no body, and Letta has come to need one.
    await assert.rejects(messages.reset(agent.id), status(422));
  });

  test('no method is left out', () => {
    assert.deepEqual([...methods].filter((method) => !called.has(method)), []);
  });
});
