// The Vercel AI SDK with its providers for OpenAI, unmodified: a page with a client token talks to its agent.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText } from 'ai';

import { issueToken, PAGE, startWithAgent } from './scene.mjs';

/** How a page makes a model of an agent. */
const PROVIDERS = {
  'the provider for compatible servers': (options, id) =>
    createOpenAICompatible({ ...options, name: 'letta', includeUsage: true })(id),
  'chat completions of the provider for OpenAI': (options, id) => createOpenAI(options).chat(id),
  'responses of the provider for OpenAI': (options, id) => createOpenAI(options).responses(id),
};

describe('the AI SDK', () => {
  let scene, options;

  before(async () => {
    scene = await startWithAgent();
    const apiKey = await issueToken(scene, scene.agentId);
    options = { baseURL: `${scene.url}/v1`, apiKey, headers: { Origin: PAGE } };
  });
  after(() => scene?.stop());

  for (const [name, make] of Object.entries(PROVIDERS)) {
    test(`${name}: generateText`, async () => {
      const answer = await generateText({ model: make(options, scene.agentId), prompt: 'Hello', maxRetries: 0 });
      assert.deepEqual([answer.text, answer.finishReason], ['Echo: Hello', 'stop']);
      assert.ok(answer.usage.totalTokens > 0, JSON.stringify(answer.usage));
    });

    test(`${name}: streamText`, async () => {
      const answer = streamText({ model: make(options, scene.agentId), prompt: 'Hello', maxRetries: 0 });
      const pieces = [];
      for await (const piece of answer.textStream) pieces.push(piece);
      assert.equal(pieces.join(''), 'Echo: Hello');
      assert.ok(pieces.length > 1, JSON.stringify(pieces));
      assert.equal(await answer.finishReason, 'stop');
      assert.ok((await answer.usage).totalTokens > 0);
    });

    test(`${name}: a refusal`, async () => {
      const asking = generateText({ model: make(options, 'Ada'), prompt: 'Hello', maxRetries: 0 });
      await assert.rejects(asking, (error) => error.statusCode === 403 && /policy does not name Ada/.test(error.message));
    });
  }
});
