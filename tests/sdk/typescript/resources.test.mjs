// Every method of the 1.x SDK. The last test sees to it that none is left out.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startGatelet, until } from '../../support/gatelet.mjs';
import { Letta, toFile } from 'letta-client-1';

const MODELS = { model: 'openai/gpt-4o-mini', embedding: 'openai/text-embedding-3-small' };
const ROLL = 'def roll(sides: int) -> str:\n    """Rolls a die.\n\n    Args:\n        sides (int): how many\n    """\n    return "six"\n';
const NOTHING = '123e4567-e89b-42d3-8456-426614174000';

const methods = new Set();
const called = new Set();

/** Notes every method of a resource, and every call of one. */
function watch(resource, path) {
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
    if (name === 'constructor' || name.startsWith('_')) continue;
    const method = resource[name];
    methods.add(`${path}.${name}`);
    resource[name] = (...args) => {
      called.add(`${path}.${name}`);
      return method.apply(resource, args);
    };
  }
  watchAll(resource, `${path}.`);
}

/** Watches the resources that an object has. */
function watchAll(object, prefix) {
  for (const [name, member] of Object.entries(object)) {
    if (member !== null && typeof member === 'object' && '_client' in member) watch(member, `${prefix}${name}`);
  }
}

async function all(items) {
  const list = [];
  for await (const item of await items) list.push(item);
  return list;
}

const ids = async (items) => (await all(items)).map((item) => item.id);
const missing = (call) => assert.rejects(call, Letta.NotFoundError);

describe('every method of SDK 1.x', () => {
  let gatelet, client;

  before(async () => {
    gatelet = await startGatelet();
    client = new Letta({ baseURL: gatelet.url, apiKey: gatelet.apiKey, maxRetries: 0 });
    watchAll(client, '');
  });
  after(() => gatelet?.stop());

  /** A test with a fresh agent. */
  function scenario(name, steps) {
    test(name, async () => {
      const memory_blocks = [{ label: 'human', value: 'Sam' }];
      await steps(await client.agents.create({ name, memory_blocks, tags: ['sdk'], ...MODELS }));
    });
  }

  scenario('agents', async (agent) => {
    const changed = await client.agents.update(agent.id, { description: 'Changed', tags: ['sdk', 'more'] });
    assert.deepEqual([changed.description, changed.tags.toSorted()], ['Changed', ['more', 'sdk']]);
    const full = await client.agents.retrieve(agent.id, { include: ['agent.tags', 'agent.blocks'] });
    assert.equal(full.blocks[0].value, 'Sam');
    assert.deepEqual((await client.agents.retrieve(agent.id)).blocks, [], 'nothing is included unasked');
    assert.ok((await ids(client.agents.list({ tags: ['more'], limit: 1 }))).includes(agent.id));
    assert.match(await client.agents.recompile(agent.id), /Sam/);
    const file = await client.agents.exportFile(agent.id);
    const text = typeof file === 'string' ? file : JSON.stringify(file);
    const imported = await client.agents.importFile({ file: await toFile(Buffer.from(text), 'agent.af') });
    const copy = await client.agents.retrieve(imported.agent_ids[0], { include: ['agent.blocks'] });
    assert.deepEqual([copy.name, copy.blocks[0].value], [`${agent.name}_copy`, 'Sam']);
    await client.agents.delete(agent.id);
    await missing(client.agents.retrieve(agent.id));
  });

  scenario('blocks', async (agent) => {
    const block = await client.blocks.create({ label: 'note', value: 'one', metadata: { a: [1] } });
    assert.deepEqual([block.label, block.value, block.metadata], ['note', 'one', { a: [1] }]);
    assert.equal((await client.blocks.update(block.id, { value: 'two' })).value, 'two');
    assert.equal((await client.blocks.retrieve(block.id)).value, 'two');
    assert.ok((await ids(client.blocks.list({ label: 'note', limit: 1 }))).includes(block.id));
    const attached = await client.agents.blocks.attach(block.id, { agent_id: agent.id });
    assert.deepEqual(attached.blocks.map(({ label }) => label).toSorted(), ['human', 'note']);
    assert.deepEqual(await ids(client.blocks.agents.list(block.id)), [agent.id]);
    assert.equal((await all(client.agents.blocks.list(agent.id))).length, 2);
    await client.agents.blocks.update('note', { agent_id: agent.id, value: 'three' });
    assert.equal((await client.agents.blocks.retrieve('note', { agent_id: agent.id })).value, 'three');
    assert.equal((await client.blocks.retrieve(block.id)).value, 'three', 'it is one block');
    const detached = await client.agents.blocks.detach(block.id, { agent_id: agent.id });
    assert.equal(detached.blocks.length, 1);
    await client.blocks.delete(block.id);
    await missing(client.blocks.retrieve(block.id));
  });

  scenario('tools', async (agent) => {
    const tool = await client.tools.create({ source_code: ROLL });
    assert.deepEqual([tool.name, tool.json_schema.parameters.required], ['roll', ['sides']]);
    assert.equal((await client.tools.upsert({ source_code: ROLL, description: 'A die' })).id, tool.id);
    assert.equal((await client.tools.update(tool.id, { return_char_limit: 99 })).return_char_limit, 99);
    assert.equal((await client.tools.retrieve(tool.id)).description, 'A die');
    assert.deepEqual(await ids(client.tools.list({ name: 'roll' })), [tool.id]);
    const found = await client.tools.search({ query: 'die', limit: 100 });
    assert.ok(found.some((each) => each.tool.id === tool.id));
    await client.agents.tools.attach(tool.id, { agent_id: agent.id });
    assert.ok((await ids(client.agents.tools.list(agent.id))).includes(tool.id));
    const ran = await client.agents.tools.run('roll', { agent_id: agent.id, args: { sides: 6 } });
    assert.equal(ran.status, 'success');
    // The SDK sends its own name of the field, which Letta does not know; what it does not know itself it passes on.
    const misnamed = client.agents.tools.updateApproval('roll', { agent_id: agent.id, body_requires_approval: true });
    await assert.rejects(misnamed, Letta.UnprocessableEntityError);
    await client.agents.tools.updateApproval('roll', { agent_id: agent.id, requires_approval: true });
    const [rule] = (await client.agents.retrieve(agent.id)).tool_rules;
    assert.deepEqual([rule.type, rule.tool_name], ['requires_approval', 'roll']);
    await client.agents.tools.detach(tool.id, { agent_id: agent.id });
    assert.ok(!(await ids(client.agents.tools.list(agent.id))).includes(tool.id));
    await client.tools.delete(tool.id);
    await missing(client.tools.retrieve(tool.id));
  });

  scenario('messages', async (agent) => {
    const { messages } = client.agents;
    const answer = await messages.create(agent.id, { messages: [{ role: 'user', content: 'Hello' }] });
    const said = answer.messages.find((message) => message.message_type === 'assistant_message');
    assert.deepEqual([said.content, answer.usage.step_count], ['Echo: Hello', 1]);
    const streams = [
      () => messages.create(agent.id, { input: 'Stream', streaming: true }),
      () => messages.stream(agent.id, { input: 'Stream' }),
    ];
    for (const stream of streams) {
      const kinds = (await all(stream())).map((event) => event.message_type);
      assert.deepEqual([kinds[0], ...kinds.slice(-2)], ['ping', 'stop_reason', 'usage_statistics']);
    }
    const listed = await all(messages.list(agent.id, { limit: 3, order: 'asc' }));
    const asked = listed.filter((message) => message.message_type === 'user_message').map(({ content }) => content);
    assert.deepEqual(asked, ['Hello', 'Stream', 'Stream']);
    const run = await messages.createAsync(agent.id, { input: 'Later' });
    assert.equal(run.agent_id, agent.id);
    await messages.cancel(agent.id, { run_ids: [run.id] });
    assert.ok((await client.messages.retrieve(said.id)).some(({ id }) => id === said.id));
    assert.ok((await client.messages.list({ limit: 2 })).length);
    assert.ok((await client.messages.search({ query: 'Hello', agent_id: agent.id })).length);
    assert.ok((await messages.compact(agent.id)).num_messages_before);
    await messages.reset(agent.id, { add_default_initial_messages: false });
    assert.equal((await all(messages.list(agent.id))).length, 1);
  });

  scenario('runs and steps', async (agent) => {
    const answer = await client.agents.messages.create(agent.id, { input: 'Hello' });
    const { run_id: runId, step_id: stepId } = answer.messages[0];
    assert.equal((await client.runs.retrieve(runId)).status, 'completed');
    assert.deepEqual(await ids(client.runs.list({ agent_id: agent.id })), [runId]);
    assert.equal((await all(client.runs.messages.list(runId)))[0].content, 'Hello');
    assert.deepEqual(await ids(client.runs.steps.list(runId)), [stepId]);
    const usage = await client.runs.usage.retrieve(runId);
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    assert.equal((await client.steps.retrieve(stepId)).run_id, runId);
    assert.deepEqual(await ids(client.steps.list({ agent_id: agent.id })), [stepId]);
    assert.ok((await all(client.steps.messages.list(stepId))).length);
    assert.equal((await client.steps.metrics.retrieve(stepId)).run_id, runId);
    await client.steps.trace.retrieve(stepId);
    assert.equal((await client.steps.feedback.create(stepId, { feedback: 'positive' })).feedback, 'positive');
    const stream = await client.agents.messages.stream(agent.id, { input: 'Beside', background: true });
    const events = await all(stream);
    const again = await all(client.runs.messages.stream(events[0].run_id, { starting_after: 0 }));
    assert.deepEqual(again, events);
    // As an open-source server without a store of traces.
    await assert.rejects(client.runs.trace.retrieve(runId), Letta.InternalServerError);
  });

  scenario('conversations', async (agent) => {
    const { conversations } = client;
    const conversation = await conversations.create({ agent_id: agent.id, summary: 'first' });
    const events = await all(conversations.messages.create(conversation.id, { input: 'Hello' }));
    assert.equal(events.find((event) => event.message_type === 'assistant_message').content, 'Echo: Hello');
    assert.equal((await conversations.update(conversation.id, { summary: 'second' })).summary, 'second');
    assert.ok((await conversations.retrieve(conversation.id)).in_context_message_ids.length >= 3);
    assert.deepEqual((await conversations.list({ agent_id: agent.id })).map(({ id }) => id), [conversation.id]);
    assert.ok((await conversations.messages.list(conversation.id)).items.length >= 3);
    for (let turn = 0; turn < 8; turn += 1) await all(conversations.messages.create(conversation.id, { input: 'more' }));
    const everything = (await conversations.messages.list(conversation.id, { order: 'asc' })).items;
    const visit = ({ id, message_type }) => `${id} ${message_type}`;
    for (const order of ['asc', 'desc']) {
      const visited = (await all(conversations.messages.list(conversation.id, { order, limit: 4 }))).map(visit);
      assert.deepEqual(order === 'asc' ? visited : visited.toReversed(), everything.map(visit), order);
    }
    assert.match(await conversations.recompile(conversation.id), new RegExp(agent.id));
    const fork = await conversations.fork(conversation.id);
    assert.notEqual(fork.id, conversation.id);
    await assert.rejects(conversations.cancel(fork.id), Letta.ConflictError);
    const beside = await all(conversations.messages.create(conversation.id, { input: 'Beside', background: true }));
    const again = await all(conversations.messages.stream(conversation.id, { run_id: beside[0].run_id }));
    assert.deepEqual(again, beside);
    assert.ok((await conversations.messages.compact(conversation.id)).num_messages_before);
    await conversations.delete(fork.id);
    await missing(conversations.retrieve(fork.id));
  });

  scenario('archives and passages', async (agent) => {
    const archive = await client.archives.create({ name: 'shelf', embedding: MODELS.embedding });
    assert.equal((await client.archives.update(archive.id, { description: 'd' })).description, 'd');
    assert.equal((await client.archives.retrieve(archive.id)).name, 'shelf');
    assert.deepEqual(await ids(client.archives.list({ name: 'shelf' })), [archive.id]);
    await client.agents.archives.attach(archive.id, { agent_id: agent.id });
    const passage = await client.archives.passages.create(archive.id, { text: 'Sam likes tea', tags: ['food'] });
    const passages = [{ text: 'Rome' }, { text: 'Paris' }];
    const more = await client.archives.passages.createMany(archive.id, { passages });
    assert.deepEqual(more.map(({ text }) => text), ['Rome', 'Paris']);
    const [own] = await client.agents.passages.create(agent.id, { text: 'Sam likes cake', tags: ['food'] });
    assert.equal((await client.agents.passages.list(agent.id)).length, 4);
    const { results } = await client.agents.passages.search(agent.id, { query: 'tea' });
    assert.equal(results[0].content, 'Sam likes tea');
    const found = await client.passages.search({ query: 'Sam', archive_id: archive.id, tags: ['food'] });
    assert.deepEqual(new Set(found.map((each) => each.passage.id)), new Set([passage.id, own.id]));
    await client.agents.passages.delete(own.id, { agent_id: agent.id });
    await client.archives.passages.delete(passage.id, { archive_id: archive.id });
    await client.agents.archives.detach(archive.id, { agent_id: agent.id });
    await client.archives.delete(archive.id);
    await missing(client.archives.retrieve(archive.id));
  });

  scenario('folders and files', async (agent) => {
    const { folders } = client;
    const folder = await folders.create({ name: 'papers', embedding: MODELS.embedding });
    assert.equal((await folders.update(folder.id, { description: 'd' })).description, 'd');
    assert.equal((await folders.retrieve(folder.id)).description, 'd');
    assert.deepEqual(await ids(folders.list()), [folder.id]);
    const upload = await toFile(Buffer.from('hello file'), 'note.txt');
    const file = await folders.files.upload(folder.id, { file: upload });
    await until('the file is read', async () => {
      const { processing_status: status } = await folders.files.retrieve(file.id, { folder_id: folder.id });
      return status === 'completed';
    });
    assert.deepEqual(await ids(folders.files.list(folder.id)), [file.id]);
    await client.agents.folders.attach(folder.id, { agent_id: agent.id });
    assert.deepEqual(await ids(client.agents.folders.list(agent.id)), [folder.id]);
    assert.deepEqual(await folders.agents.list(folder.id), [agent.id]);
    assert.deepEqual((await all(client.agents.files.list(agent.id))).map((each) => each.file_id), [file.id]);
    assert.deepEqual(await client.agents.files.open(file.id, { agent_id: agent.id }), []);
    await client.agents.files.close(file.id, { agent_id: agent.id });
    assert.deepEqual(await client.agents.files.closeAll(agent.id), []);
    await client.agents.folders.detach(folder.id, { agent_id: agent.id });
    await folders.files.delete(file.id, { folder_id: folder.id });
    await folders.delete(folder.id);
    await missing(folders.retrieve(folder.id));
  });

  scenario('identities of an agent', async (agent) => {
    const body = { identifier_key: 'sam', name: 'Sam', identity_type: 'user' };
    const identity = await client.post('/v1/identities/', { body });
    await client.agents.identities.attach(identity.id, { agent_id: agent.id });
    assert.deepEqual(await ids(client.agents.list({ identity_id: identity.id })), [agent.id]);
    await client.agents.identities.detach(identity.id, { agent_id: agent.id });
    assert.deepEqual(await ids(client.agents.list({ identity_id: identity.id })), []);
  });

  scenario('models and tags', async () => {
    assert.ok((await client.models.list()).some(({ handle }) => handle === MODELS.model));
    assert.ok((await client.models.embeddings.list()).some(({ handle }) => handle === MODELS.embedding));
    assert.ok((await client.tags.list()).includes('sdk'));
  });

  scenario('MCP servers', async () => {
    const config = { mcp_server_type: 'streamable_http', server_url: 'https://mcp.example/' };
    const server = await client.mcpServers.create({ server_name: 'far', config });
    const moved = { ...config, server_url: 'https://other.example/' };
    await client.mcpServers.update(server.id, { config: moved });
    assert.equal((await client.mcpServers.retrieve(server.id)).server_url, moved.server_url);
    assert.deepEqual((await client.mcpServers.list()).map(({ id }) => id), [server.id]);
    await client.mcpServers.refresh(server.id);
    assert.deepEqual(await client.mcpServers.tools.list(server.id), [], 'no configuration gives it any');
    const params = { mcp_server_id: server.id };
    await missing(client.mcpServers.tools.retrieve(`tool-${NOTHING}`, params));
    await missing(client.mcpServers.tools.run(`tool-${NOTHING}`, { ...params, args: {} }));
    await client.mcpServers.delete(server.id);
    await missing(client.mcpServers.retrieve(server.id));
  });

  scenario('schedule', async (agent) => {
    const { schedule } = client.agents;
    const { id } = await schedule.create(agent.id, {
      messages: [{ role: 'user', content: 'Wake up' }],
      schedule: { type: 'one-time', scheduled_at: 4_102_444_800_000 },
    });
    assert.equal((await schedule.retrieve(id, { agent_id: agent.id })).agent_id, agent.id);
    assert.deepEqual((await schedule.list(agent.id)).scheduled_messages.map((each) => each.id), [id]);
    await schedule.delete(id, { agent_id: agent.id });
    await missing(schedule.retrieve(id, { agent_id: agent.id }));
  });

  scenario('access tokens', async (agent) => {
    const policy = [{ type: 'agent', id: agent.id, access: ['read_messages'] }];
    const { token } = await client.accessTokens.create({ policy, hostname: 'https://app.example' });
    const { tokens } = await client.accessTokens.list({ agentId: agent.id });
    assert.deepEqual(tokens.map((each) => each.token), [token]);
    await client.accessTokens.delete(token);
  });

  scenario('environments', async () => {
    assert.ok(await client.environments.list());
    await missing(client.environments.retrieve('device'));
    await missing(client.environments.sendMessage('connection', { messages: [{ role: 'user', content: 'Hello' }] }));
  });

  scenario('templates', async (agent) => {
    const made = await client.templates.create({ type: 'agent', agent_id: agent.id, name: 'seed' });
    assert.equal(made.name, 'seed');
    await client.templates.save('seed');
    const created = await client.templates.agents.create('seed:latest', { agent_name: 'sprout' });
    assert.equal((await client.agents.retrieve(created.agent_ids[0])).name, 'sprout');
    await client.templates.rollback('seed', { version: '1' });
    const file = await client.get(`/v1/agents/${agent.id}/export`);
    await client.templates.update('seed', { agent_file_json: file });
    assert.ok((await client.templates.delete('seed')).success);
  });

  test('no method is left out', () => {
    assert.deepEqual([...methods].filter((method) => !called.has(method)), []);
  });
});
