// What only the 1.x SDK does: paging by itself, retrying by itself, and fields that 0.1.x cannot send.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startGatelet } from '../../support/gatelet.mjs';
import { Letta } from 'letta-client-1';

const PAGE = 'https://app.example';
const MODEL = 'openai/gpt-4o-mini';

describe('SDK 1.x', () => {
  let gatelet, client;

  before(async () => {
    gatelet = await startGatelet();
    client = new Letta({ baseURL: gatelet.url, apiKey: gatelet.apiKey });
  });
  after(() => gatelet?.stop());

  test('for await walks all pages of the agents and ends', async () => {
    const created = [];
    for (let count = 0; count < 5; count += 1) {
      created.push((await client.agents.create({ name: `Paged ${count}`, tags: ['paged'], model: MODEL })).id);
    }
    const seen = [];
    for await (const agent of client.agents.list({ tags: ['paged'], limit: 2, order: 'asc' })) seen.push(agent.id);
    assert.deepEqual(seen, created);
    const backwards = [];
    for await (const agent of client.agents.list({ tags: ['paged'], limit: 2 })) backwards.unshift(agent.id);
    assert.deepEqual(backwards, created);
  });

  test('for await over messages ends after the newest', async () => {
    const { id } = await client.agents.create({ name: 'Talker', model: MODEL });
    for (const content of ['One', 'Two', 'Three']) {
      await client.agents.messages.create(id, { messages: [{ role: 'user', content }] });
    }
    const seen = [];
    for await (const message of client.agents.messages.list(id, { limit: 2, order: 'asc' })) {
      if (message.message_type === 'user_message') seen.push(message.content);
    }
    assert.deepEqual(seen, ['One', 'Two', 'Three']);
  });

  test('a client token cannot choose the model or the system prompt', async () => {
    const { id } = await client.agents.create({ name: 'Bound', model: MODEL });
    const { token } = await client.accessTokens.create({
      policy: [{ type: 'agent', id, access: ['write_messages'] }],
      hostname: PAGE,
    });
    const page = new Letta({ baseURL: gatelet.url, apiKey: token, defaultHeaders: { Origin: PAGE } });
    for (const field of ['override_model', 'override_system']) {
      const call = page.agents.messages.create(id, { input: 'Hi', [field]: 'something-else' });
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof Letta.PermissionDeniedError);
        assert.equal(error.error.code, 'field_not_granted');
        assert.ok(error.message.includes(field), error.message);
        return true;
      });
    }
  });

  test('a conflict that repeating cannot solve is asked for once', async () => {
    let requests = 0;
    const counting = client.withOptions({
      fetch: (...request) => {
        requests += 1;
        return fetch(...request);
      },
    });
    const { id } = await client.agents.create({ name: 'Idle', model: MODEL });
    await assert.rejects(counting.agents.messages.cancel(id), Letta.ConflictError);
    assert.equal(requests, 1);
  });

  test('the answers of a background turn are found through its run', async () => {
    const { id } = await client.agents.create({ name: 'Worker', model: MODEL });
    const run = await client.agents.messages.createAsync(id, { messages: [{ role: 'user', content: 'Later' }] });
    assert.match(run.id, /^run-/);
    assert.equal((await client.runs.retrieve(run.id)).agent_id, id);
  });
});
