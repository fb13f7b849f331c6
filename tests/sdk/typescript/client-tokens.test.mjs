// What a client token may and may not do, said through the unmodified SDK of each generation.

import assert from 'node:assert/strict';
import { after, before, describe, mock, test } from 'node:test';

import { inSeconds, startGatelet, until } from '../../support/gatelet.mjs';
import { generations } from './generations.mjs';

const PAGE = 'https://app.example';
const ELSEWHERE = 'https://evil.example';
const EVERY_ACCESS = ['read_messages', 'write_messages', 'read_agent', 'write_agent'];

for (const generation of generations) {
  describe(`SDK ${generation.name}`, () => {
    let gatelet, server, agent, otherAgent, warnings;

    /** A client as a page on `origin` would hold it. */
    const page = (bearer, origin = PAGE) => generation.connect({ url: gatelet.url, bearer, origin });

    /** A fresh token for the agent. */
    const issue = (grant) =>
      server.createToken({ agentId: agent.id, access: EVERY_ACCESS, hostname: PAGE, expiresAt: inSeconds(600), ...grant });

    /** An agent and a token where a test may break these rules. */
    const apart = async (rules) => {
      const place = await gatelet.allowing(rules);
      const owner = generation.connect({ url: place.url, bearer: place.apiKey });
      const { id } = await owner.createAgent({ name: 'Eve' });
      const { token } = await owner.createToken({ agentId: id, access: EVERY_ACCESS, hostname: PAGE });
      return { apiKey: place.apiKey, id, token };
    };

    const refused = (...expected) => expectRefusal(generation, ...expected);

    before(async () => {
      // 0.1.x checks answers against its own types, and warns.
      warnings = mock.method(console, 'warn', () => {});
      gatelet = await startGatelet();
      server = generation.connect({ url: gatelet.url, bearer: gatelet.apiKey });
      const blocks = [{ label: 'human', value: 'Likes tea.' }];
      agent = await server.createAgent({ name: 'Ada', tags: ['sdk-test'], blocks });
      otherAgent = await server.createAgent({ name: 'Bob', tags: ['sdk-test'] });
    });
    after(async () => {
      warnings.mock.restore();
      await gatelet?.stop();
    });

    test('a token comes back with its policy, host name and expiry', async () => {
      const expiresAt = inSeconds(600);
      const token = await issue({ access: ['read_messages', 'write_messages'], expiresAt });
      assert.match(token.token, /^ck-let-[\w-]+\.[\w-]+\.[\w-]+$/);
      assert.equal(token.hostname, PAGE);
      assert.equal(new Date(token.expiresAt).toISOString(), expiresAt);
      assert.deepEqual(token.policy, {
        version: '1',
        data: [{ type: 'agent', id: agent.id, access: ['read_messages', 'write_messages'] }],
      });
    });

    test('without an expiry a token lives five minutes', async () => {
      const earliest = Date.now() + 299_000;
      const { expiresAt } = await issue({ expiresAt: undefined });
      const latest = Date.now() + 301_000;
      assert.ok(earliest <= Date.parse(expiresAt) && Date.parse(expiresAt) <= latest, expiresAt);
    });

    test('tokens are listed for one agent, newest first, page by page', async () => {
      const tokens = [];
      for (let count = 0; count < 3; count += 1) tokens.unshift((await issue({ agentId: otherAgent.id })).token);
      const first = await server.listTokens({ agentId: otherAgent.id, limit: 2 });
      assert.deepEqual(first.tokens.map((each) => each.token), tokens.slice(0, 2));
      assert.equal(first.hasNextPage, true);
      const second = await server.listTokens({ agentId: otherAgent.id, limit: 2, offset: 2 });
      assert.deepEqual(second.tokens.map((each) => each.token), tokens.slice(2));
      assert.equal(second.hasNextPage, false);
      assert.ok((await server.listTokens({ limit: 1000 })).tokens.length > 3, 'without a filter: those of every agent');
    });

    test('a bad request to issue a token names the field', async () => {
      await refused(issue({ hostname: `${PAGE}/` }), 400, 'invalid_request', 'hostname');
      await refused(issue({ expiresAt: inSeconds(-1) }), 400, 'invalid_request', 'expires_at');
      await refused(issue({ agentId: 'no such form of id' }), 400, 'invalid_request', 'policy');
    });

    test('a page sends a message, streams replies and reads the history', async () => {
      const { token } = await issue({ access: ['read_messages', 'write_messages'] });
      const client = page(token);

      const answer = await client.send(agent.id, 'Hello');
      assert.deepEqual(texts(answer.messages, 'assistant_message'), ['Echo: Hello']);
      assert.equal(answer.stopReason, 'end_turn');

      const steps = await client.stream(agent.id, 'Whole messages', { tokens: false });
      assert.deepEqual(texts(steps, 'assistant_message'), ['Echo: Whole messages']);
      assert.equal(steps.find((event) => event.type === 'stop_reason').stopReason, 'end_turn');
      assert.equal(steps.at(-1).type, 'usage_statistics');

      const deltas = await client.stream(agent.id, 'One token after the other', { tokens: true });
      const pieces = texts(deltas, 'assistant_message');
      assert.ok(pieces.length > 1, `the reply should come in pieces: ${JSON.stringify(pieces)}`);
      assert.equal(pieces.join(''), 'Echo: One token after the other');

      const history = await client.messages(agent.id);
      assert.deepEqual(texts(history, 'user_message').slice(-3), [
        'Hello',
        'Whole messages',
        'One token after the other',
      ]);
      assert.equal(texts(history, 'assistant_message').at(-1), 'Echo: One token after the other');
    });

    test('a page reads and changes its agent and the agent’s memory', async () => {
      const client = page((await issue()).token);
      assert.equal((await client.retrieveAgent(agent.id)).name, 'Ada');
      assert.equal((await client.describeAgent(agent.id, 'Changed by the page')).description, 'Changed by the page');
      assert.equal((await server.retrieveAgent(agent.id)).description, 'Changed by the page');

      assert.deepEqual((await client.blocks(agent.id)).map((block) => block.label), ['human']);
      await client.writeBlock(agent.id, 'human', 'Likes coffee.');
      assert.equal((await client.readBlock(agent.id, 'human')).value, 'Likes coffee.');
    });

    test('a request from no origin or another one is refused', async () => {
      const { id, token } = await apart({ origin_refused: 'It is refused, and the client learns why.' });
      await refused(page(token, null).messages(id), 403, 'origin_missing', 'Origin', 'origin-missing');
      await refused(page(token, ELSEWHERE).messages(id), 403, 'origin_mismatch', PAGE, ELSEWHERE);
      await refused(page(token, ELSEWHERE).stream(id, 'Hi', { tokens: true }), 403, 'origin_mismatch');
    });

    test('what the policy does not grant is refused', async () => {
      const client = page((await issue({ access: ['write_messages'] })).token);
      await refused(client.messages(otherAgent.id), 403, 'agent_not_in_policy', otherAgent.id);
      await refused(client.messages(agent.id), 403, 'access_not_granted', 'read_messages', agent.id);
      await refused(client.retrieveAgent(agent.id), 403, 'access_not_granted', 'read_agent', agent.id);
      await refused(client.describeAgent(agent.id, 'Mine'), 403, 'access_not_granted', 'write_agent', agent.id);
    });

    test('what no policy can grant is refused', async () => {
      const { token } = await issue();
      const client = page(token);
      await refused(client.listAgents(), 403, 'operation_not_available');
      await refused(client.createAgent({ name: 'Mallory' }), 403, 'operation_not_available');
      await refused(client.listTokens(), 403, 'api_key_required', 'API key');
      await refused(client.deleteToken(token), 403, 'api_key_required', 'API key');
      const policy = { agentId: agent.id, access: EVERY_ACCESS, hostname: PAGE };
      await refused(client.createToken(policy), 403, 'api_key_required', 'API key');
      await refused(client.send(agent.id, 'You are mine', 'system'), 403, 'field_not_granted', 'role');
    });

    test('an expired token says so', async () => {
      const { token } = await issue({ expiresAt: inSeconds(2) });
      const client = page(token);
      await until('the token has expired', () => client.messages(agent.id).then(() => false, () => true));
      await refused(client.messages(agent.id), 401, 'token_expired', 'expired');
    });

    test('a deleted token is refused at once, and deleting it again is no error', async () => {
      const { token } = await issue();
      const client = page(token);
      await client.messages(agent.id);
      await server.deleteToken(token);
      await refused(client.messages(agent.id), 401, 'token_revoked', 'revoked');
      await server.deleteToken(token);
      const left = await server.listTokens({ agentId: agent.id, limit: 1000 });
      assert.ok(!left.tokens.some((each) => each.token === token));
    });

    test('a bearer that is not ours learns nothing', async () => {
      const { token } = await issue();
      await refused(page('garbage').messages(agent.id), 401, 'bearer_invalid');
      await refused(page('sk-let-0123456789abcdef', null).listAgents(), 401, 'bearer_invalid');
      await refused(page(`${token.slice(0, -6)}AAAAAA`).messages(agent.id), 401, 'bearer_invalid');
    });

    test('a server key in a browser is refused', async () => {
      const { apiKey } = await apart({ api_key_in_browser: 'It is refused, and the client learns why.' });
      await refused(page(apiKey).listAgents(), 403, 'api_key_in_browser');
    });

    test('Letta’s own errors come in their class', async () => {
      const missing = 'agent-00000000-0000-4000-8000-000000000000';
      await refused(server.retrieveAgent(missing), 404, 'not_found', missing);
      await refused(server.retrieveAgent('agent-malformed'), 422, 'validation_failed', 'agent-');
      const idle = await server.createAgent({ name: 'Idle' });
      await refused(server.cancel(idle.id), 409, 'conflict', 'No active runs');
    });

    test('every answer had the fields that the SDK declares', () => {
      assert.deepEqual(warnings.mock.calls.flatMap((call) => call.arguments), []);
    });
  });

  test(`SDK ${generation.name}: with --origin-missing allow a script needs no Origin`, async () => {
    const gatelet = await startGatelet('--origin-missing', 'allow');
    await gatelet.allow('origin_refused', 'An origin that is named must still be the right one.');
    try {
      const server = generation.connect({ url: gatelet.url, bearer: gatelet.apiKey });
      const agent = await server.createAgent({ name: 'Ada' });
      const { token } = await server.createToken({ agentId: agent.id, access: ['write_messages'], hostname: PAGE });
      const script = generation.connect({ url: gatelet.url, bearer: token });
      assert.deepEqual(texts((await script.send(agent.id, 'Hello')).messages, 'assistant_message'), ['Echo: Hello']);
      const elsewhere = generation.connect({ url: gatelet.url, bearer: token, origin: ELSEWHERE });
      await expectRefusal(generation, elsewhere.send(agent.id, 'Hello'), 403, 'origin_mismatch', PAGE, ELSEWHERE);
    } finally {
      await gatelet.stop();
    }
  });
}

/** Expects the SDK to raise its own error class, with Gatelet's code and sentence in it. */
async function expectRefusal(generation, call, status, code, ...sentence) {
  const error = await call.then(
    () => assert.fail(`should have been refused: ${code}`),
    (error) => error,
  );
  assert.ok(error instanceof generation.errorClass(status), `${code} came as ${error.name}: ${error.message}`);
  const { text, ...refusal } = await generation.refusal(error);
  assert.deepEqual(refusal, { status, code });
  for (const part of sentence) assert.ok(text.includes(part), `${part} should be in: ${text}`);
}

/** What the messages or events of one type say. */
function texts(messages, type) {
  return messages.filter((message) => message.type === type).map((message) => message.text);
}
