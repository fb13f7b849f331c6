// Letta's provider for the Vercel AI SDK, unmodified: `generateText` and `streamText` with an agent as the model.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { fetcher } from '@letta-ai/letta-client/core/index.js';
import { convertToAiSdkMessage, createLetta } from '@letta-ai/vercel-ai-sdk-provider';
import { generateText, streamText } from 'ai';

import { startGatelet } from '../../support/gatelet.mjs';

const PAGE = 'https://app.example';
// Its agents reason.
const MODELS = { model: 'openai/o3', embedding: 'openai/text-embedding-3-small' };
const THOUGHT = 'The message is 5 characters long and begins with "Hello". I will repeat it as it is.';
const SEARCH = { prompt: 'Use web_search with query "tea"', input: { query: 'tea' } };
const FOUND = 'web_search was called with {"query":"tea"}';

describe('Vercel AI SDK', () => {
  let gatelet, letta, agent;

  /** What both calls take: the agent stands in for the model. */
  const asking = (provider, prompt, options) => ({
    model: provider(),
    prompt,
    providerOptions: { letta: { agent: { id: agent.id, ...options } } },
    maxRetries: 0,
  });

  /** A provider as a page on `origin` holds it: browsers add the header themselves, other programs in the fetcher. */
  const page = (token, origin) =>
    createLetta({
      baseUrl: gatelet.url,
      token,
      fetcher: (request) => fetcher({ ...request, headers: { ...request.headers, Origin: origin } }),
    });

  before(async () => {
    gatelet = await startGatelet();
    letta = createLetta({ baseUrl: gatelet.url, token: gatelet.apiKey });
    agent = await letta.client.agents.create({ ...MODELS, name: 'Ada', tools: ['web_search'] });
  });
  after(() => gatelet?.stop());

  test('generateText answers with text and reasoning', async () => {
    const answer = await generateText(asking(letta, 'Hello'));
    assert.equal(answer.text, 'Echo: Hello');
    assert.equal(answer.reasoningText, THOUGHT);
    assert.equal(answer.finishReason, 'stop');
    // The provider does not read Letta's figures, and says this of every answer.
    assert.deepEqual(answer.usage, { inputTokens: -1, outputTokens: -1, totalTokens: -1 });
    assert.deepEqual(answer.warnings, []);
  });

  for (const options of [{}, { streamTokens: true }, { streamTokens: true, background: true, includePings: true }]) {
    test(`streamText with ${JSON.stringify(options)} gives the pieces of text and reasoning in order`, async () => {
      const { parts, errors } = await collect(asking(letta, 'Hello', options));
      assert.deepEqual(errors, []);
      const kinds = parts.map((part) => part.type).filter((kind, index, all) => kind !== all[index - 1]);
      assert.deepEqual(kinds, [
        ...['start', 'start-step', 'reasoning-start', 'reasoning-delta', 'text-start', 'text-delta', 'text-end'],
        ...['reasoning-end', 'finish-step', 'finish'],
      ]);
      assert.equal(joined(parts, 'reasoning-delta'), THOUGHT);
      assert.equal(joined(parts, 'text-delta'), 'Echo: Hello');
      const pieces = parts.filter((part) => part.type === 'text-delta');
      assert.equal(pieces.length > 1, options.streamTokens === true);
      assert.equal(new Set(pieces.map((part) => part.id)).size, 1);
      assert.ok(pieces.every((part) => part.providerMetadata.letta.runId.startsWith('run-')));
      assert.equal(parts.at(-1).finishReason, 'stop');
    });
  }

  test('streamText shows what a tool of the agent was called with and returned', async () => {
    const tools = { web_search: letta.tool('web_search') };
    for (const streamTokens of [false, true]) {
      const { parts, errors } = await collect({ ...asking(letta, SEARCH.prompt, { streamTokens }), tools });
      assert.deepEqual(errors, []);
      const [call] = parts.filter((part) => part.type === 'tool-call');
      assert.deepEqual([call.toolName, call.input], ['web_search', SEARCH.input]);
      // The placeholder of the provider "returns" too, but only after Letta has.
      const returned = parts.find((part) => part.type === 'tool-result');
      assert.deepEqual([returned.toolCallId, returned.output], [call.toolCallId, FOUND]);
      assert.equal(joined(parts, 'text-delta'), `The tool returned: ${FOUND}`);
    }
  });

  test('generateText shows the call of a tool, without its name', async () => {
    const tools = { web_search: letta.tool('web_search') };
    const answer = await generateText({ ...asking(letta, SEARCH.prompt), tools });
    // Here the provider takes a message's own name for that of the tool, and Letta leaves it empty in calls.
    assert.deepEqual(answer.toolCalls.map(({ toolName, input }) => [toolName, input]), [['', SEARCH.input]]);
    assert.equal(answer.text, `The tool returned: ${FOUND}`);
  });

  test('the history of an agent becomes the messages of a chat', async () => {
    const { id } = await letta.client.agents.create({ ...MODELS, name: 'Bob' });
    await letta.client.agents.messages.create(id, { messages: [{ role: 'user', content: 'Hello' }] });
    const chat = convertToAiSdkMessage(await letta.client.agents.messages.list(id));
    const said = chat.filter(({ role }) => role !== 'system');
    assert.deepEqual(
      said.map(({ role, parts }) => [role, ...parts.map(({ type, text }) => [type, text])]),
      [
        ['user', ['text', 'Hello']],
        ['assistant', ['reasoning', THOUGHT], ['text', 'Echo: Hello']],
      ],
    );
  });

  test('a client token talks from its own origin, and from no other', async () => {
    const { token } = await letta.client.clientSideAccessTokens.create({
      policy: [{ type: 'agent', id: agent.id, access: ['write_messages'] }],
      hostname: PAGE,
    });
    const own = page(token, PAGE);
    assert.equal((await generateText(asking(own, 'Hello'))).text, 'Echo: Hello');
    const { parts } = await collect(asking(own, 'Hello', { streamTokens: true }));
    assert.equal(joined(parts, 'text-delta'), 'Echo: Hello');

    const place = await gatelet.allowing({ origin_refused: 'Other origins are refused, and the caller learns why.' });
    const there = createLetta({ baseUrl: place.url, token: place.apiKey });
    const { id } = await there.client.agents.create({ ...MODELS, name: 'Eve' });
    const foreign = await there.client.clientSideAccessTokens.create({
      policy: [{ type: 'agent', id, access: ['write_messages'] }],
      hostname: PAGE,
    });
    const elsewhere = page(foreign.token, 'https://evil.example');
    await assert.rejects(generateText(asking(elsewhere, 'Hello', { id })), refusal('origin_mismatch'));
    const { errors } = await collect(asking(elsewhere, 'Hello', { id }));
    assert.deepEqual(errors.map((error) => error.statusCode), [403]);
    const nowhere = createLetta({ baseUrl: gatelet.url, token: foreign.token });
    await assert.rejects(generateText(asking(nowhere, 'Hello', { id })), refusal('origin_missing'));
  });
});

/** Everything that `streamText` brings, and the errors it reports. */
async function collect(call) {
  const errors = [];
  const { fullStream } = streamText({ ...call, onError: ({ error }) => errors.push(error) });
  const parts = [];
  for await (const part of fullStream) parts.push(part);
  return { parts, errors };
}

const refusal = (code) => (error) => error.statusCode === 403 && error.body.code === code;

const joined = (parts, type) =>
  parts
    .filter((part) => part.type === type)
    .map((part) => part.text)
    .join('');
