// A plain page on another origin than Gatelet's talks to an agent, and can read why it may not.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { inSeconds, startGatelet, until } from '../support/gatelet.mjs';
import { browserTest, countAppends, Letta, startSite } from './browser.mjs';

let gatelet, server, agent, home, elsewhere;

before(async () => {
  [gatelet, home, elsewhere] = await Promise.all([startGatelet(), startSite(), startSite()]);
  server = new Letta({ baseURL: gatelet.url, apiKey: gatelet.apiKey });
  agent = await server.agents.create({ name: 'Ada', model: 'openai/gpt-4o-mini' });
});
after(() => Promise.all([gatelet, home, elsewhere].map((each) => each?.stop())));

/** A token for pages of `home`. */
async function issue(lifetime = 600, by = server, agentId = agent.id) {
  const { token } = await by.accessTokens.create({
    policy: [{ type: 'agent', id: agentId, access: ['read_messages', 'write_messages'] }],
    hostname: home.origin,
    expires_at: inSeconds(lifetime),
  });
  return token;
}

const send = (page, bearer, text = 'Hello from a page', agentId = agent.id) =>
  page.evaluate((message) => window.send(message), { url: gatelet.url, bearer, agentId, text });

const reply = (page) => page.locator('#reply').textContent();

/** Expects the document to show what the SDK raised: its class, our sentence, our code and the request's id. */
async function showsRefusal(page, errorClass, code, ...sentence) {
  const text = await page.locator('#refusal').textContent();
  for (const part of [errorClass, code, ...sentence]) assert.ok(text.includes(part), `${part} should be in: ${text}`);
  assert.match(text, /, [\w-]{8,}\]$/, 'x-request-id should be readable by the page');
  assert.equal(await reply(page), '');
}

browserTest('a page on the bound origin streams a reply into its document', async (open) => {
  const page = await open(home.origin);
  await countAppends(page, '#reply');
  await send(page, await issue(), 'One token after the other');
  assert.equal(await reply(page), 'Echo: One token after the other');
  assert.equal(await page.locator('#refusal').textContent(), '');
  assert.ok((await page.evaluate(() => window.appends)) > 1, 'the reply should appear piece by piece');
});

browserTest('the same token on another origin shows which one it is bound to', async (open) => {
  const place = await gatelet.allowing({ origin_refused: 'It is refused, and the page shows why.' });
  const owner = new Letta({ baseURL: place.url, apiKey: place.apiKey });
  const { id } = await owner.agents.create({ name: 'Eve', model: 'openai/gpt-4o-mini' });
  const page = await open(elsewhere.origin);
  await send(page, await issue(600, owner, id), 'Hello', id);
  await showsRefusal(page, 'PermissionDeniedError', 'origin_mismatch', home.origin, elsewhere.origin);
});

browserTest('a page sees that its token has expired', async (open) => {
  const token = await issue(2);
  const page = await open(home.origin);
  await until('the token has expired', async () => {
    const probe = new Letta({ baseURL: gatelet.url, apiKey: token, defaultHeaders: { Origin: home.origin } });
    return probe.agents.messages.list(agent.id).then(() => false, () => true);
  });
  await send(page, token);
  await showsRefusal(page, 'AuthenticationError', 'token_expired', 'expired');
});

browserTest('a page sees that its token was deleted', async (open) => {
  const token = await issue();
  const page = await open(home.origin);
  await send(page, token, 'Still here');
  assert.equal(await reply(page), 'Echo: Still here');
  await server.accessTokens.delete(token);
  await page.reload();
  await send(page, token);
  await showsRefusal(page, 'AuthenticationError', 'token_revoked', 'revoked');
});

browserTest('a server key that has leaked into a page does not work there', async (open) => {
  const page = await open(home.origin);
  const { apiKey } = await gatelet.allowing({ api_key_in_browser: 'It is refused, and the page shows why.' });
  await send(page, apiKey);
  await showsRefusal(page, 'PermissionDeniedError', 'api_key_in_browser');
});
