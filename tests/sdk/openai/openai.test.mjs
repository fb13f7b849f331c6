// The `openai` SDK, unmodified: a page with a client token talks to its agent as to a model.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import OpenAI from 'openai';

import { PAGE, createAgent, issueToken, startWithAgent } from './scene.mjs';

describe('the openai SDK', () => {
  let scene, client, model;

  before(async () => {
    scene = await startWithAgent();
    model = scene.agentId;
    client = page(await issueToken(scene, model));
  });
  after(() => scene?.stop());

  /** A client as a page holds it: browsers add the header themselves. */
  const page = (token, headers) =>
    new OpenAI({ baseURL: `${scene.url}/v1`, apiKey: token, defaultHeaders: { Origin: PAGE, ...headers }, maxRetries: 0 });

  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
  ];

  test('the models are the agents of the policy', async () => {
    const models = [];
    for await (const each of client.models.list()) models.push(each);
    assert.deepEqual(models, [{ id: model, object: 'model', created: 0, owned_by: 'letta' }]);
  });

  test('a completion is what the agent says', async () => {
    const completion = await client.chat.completions.create({ model, messages, temperature: 0 });
    assert.equal(completion.choices[0].message.content, 'Echo: Hello');
    assert.equal(completion.choices[0].finish_reason, 'stop');
    assert.ok(completion.usage.total_tokens > 0);
  });

  test('a streamed completion comes in pieces', async () => {
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let [text, pieces, usage, reason] = ['', 0, null, null];
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (piece) [text, pieces] = [text + piece, pieces + 1];
      reason = chunk.choices[0]?.finish_reason ?? reason;
      usage = chunk.usage ?? usage;
    }
    assert.deepEqual([text, reason], ['Echo: Hello', 'stop']);
    assert.ok(pieces > 1 && usage.completion_tokens > 0, JSON.stringify([pieces, usage]));
  });

  test('the helper for streams gathers the same', async () => {
    const completion = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
    assert.equal(completion.choices[0].message.content, 'Echo: Hello');
  });

  test('a response can be continued', async () => {
    const first = await client.responses.create({ model, input: 'One', store: true });
    assert.equal(first.output_text, 'Echo: One');
    const second = await client.responses.create({ model, input: 'Two', store: true, previous_response_id: first.id });
    assert.deepEqual([second.output_text, second.previous_response_id], ['Echo: Two', first.id]);
    const stream = await client.responses.create({ model, input: 'Three', stream: true, previous_response_id: first.id });
    let [text, last] = ['', null];
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') text += event.delta;
      last = event;
    }
    assert.deepEqual([text, last.type, last.response.status], ['Echo: Three', 'response.completed', 'completed']);
    const gathered = await client.responses.stream({ model, input: 'Four' }).finalResponse();
    assert.equal(gathered.output_text, 'Echo: Four');
    const gone = client.responses.create({ model, input: 'Five', previous_response_id: gathered.id });
    await refused(gone, 404, 'response_not_found');
  });

  test('a refusal has its code, and a sentence that says what to do', async () => {
    await refused(client.chat.completions.create({ model: 'Ada', messages }), 403, 'agent_not_in_policy');
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }];
    const error = await refused(client.chat.completions.create({ model, messages, tools }), 403, 'field_not_granted');
    assert.match(error.message, /may not set tools/);
    await refused(client.responses.create({ model, input: 'x', instructions: 'obey' }), 403, 'field_not_granted');
    await refused(page('ck-let-a.b.c').chat.completions.create({ model, messages }), 401, 'bearer_invalid');
    const own = await scene.allowing({ origin_refused: 'The refusal of a page of another origin is what is tested.' });
    const elsewhere = page(await issueToken(own, await createAgent(own)), { Origin: 'https://evil.example' });
    await refused(elsewhere.models.list(), 403, 'origin_mismatch');
  });

  test('a turn that fails is an exception, also in the middle of a stream', async () => {
    const failing = [{ role: 'user', content: '[[error:429]]' }];
    await refused(client.chat.completions.create({ model, messages: failing }), 429, 'llm_rate_limit');
    const stream = await client.chat.completions.create({ model, messages: failing, stream: true });
    await assert.rejects(async () => {
      for await (const chunk of stream) assert.ok(chunk);
    }, (error) => error instanceof OpenAI.APIError && error.code === 'llm_rate_limit');
  });

  test('an API key gets what a Letta server responds', async () => {
    const server = new OpenAI({ baseURL: `${scene.url}/v1`, apiKey: scene.apiKey, maxRetries: 0 });
    const stream = await server.chat.completions.create({ model, messages: messages.slice(1), stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    assert.equal(text, 'Echo: Hello');
    await assert.rejects(server.responses.create({ model, input: 'x' }), (error) => error.status === 404);
  });
});

async function refused(request, status, code) {
  let refusal;
  await assert.rejects(request, (error) => {
    refusal = error;
    return true;
  });
  assert.ok(refusal instanceof OpenAI.APIError, String(refusal));
  assert.deepEqual([refusal.status, refusal.code], [status, code]);
  return refusal;
}
