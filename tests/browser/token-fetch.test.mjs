// gatelet/browser in Chromium, under both generations of the official SDK and before the real program.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, beforeEach } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { staticFiles } from '../../examples/chat/static.mjs';
import { inSeconds, startGatelet, until } from '../support/gatelet.mjs';
import { browserTest, Letta } from './browser.mjs';

/** How a page uses each generation: 0.1.x takes no `fetch`, so it finds one in its place. */
const PAGES = {
  '1.x': `
    import { Letta } from '/sdk/index.mjs';
    const letta = new Letta({ baseURL, apiKey: 'of-the-sdk', fetch: tokenFetch({ baseURL, fetchToken }) });
    window.list = async () => (await letta.agents.messages.list(agentId)).getPaginatedItems().length;
    window.stream = (content) => letta.agents.messages.stream(agentId, { messages: [{ role: 'user', content }], stream_tokens: true });
  `,
  '0.1.x': `
    import { LettaClient } from '/sdk-0.1.mjs';
    globalThis.fetch = tokenFetch({ baseURL, fetchToken });
    const letta = new LettaClient({ baseUrl: baseURL, token: 'of-the-sdk' });
    window.list = async () => (await letta.agents.messages.list(agentId)).length;
    window.stream = (content) => letta.agents.messages.createStream(agentId, { messages: [{ role: 'user', content }], streamTokens: true });
  `,
};
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { tokenFetch } from '/gatelet/index.mjs';
  const { baseURL, agentId } = await (await fetch('/about')).json();
  const fetchToken = () => fetch('/token', { method: 'POST' });
  window.say = async (text) => {
    let reply = '';
    for await (const event of await window.stream(text)) {
      if ((event.message_type ?? event.messageType) === 'assistant_message') reply += event.content;
    }
    return reply;
  };
`;

let gatelet, server, agent, site, origin;
/** What the back end issues, and what it issued. */
let backEnd;

before(async () => {
  gatelet = await startGatelet();
  server = new Letta({ baseURL: gatelet.url, apiKey: gatelet.apiKey });
  agent = await server.agents.create({ name: 'Ada', model: 'openai/gpt-4o-mini' });
  const bundle = await build({
    stdin: { contents: "export { LettaClient } from 'letta-client-0.1';", resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    bundle: true,
    format: 'esm',
    write: false,
  });
  const folders = {
    '/gatelet': staticFiles(new URL('../../packages/npm/browser/', import.meta.url)),
    '/sdk': staticFiles(new URL('../../examples/chat/node_modules/@letta-ai/letta-client/', import.meta.url)),
  };
  site = createServer(async ({ url }, response) => {
    const [, folder, rest] = /^(\/[^/]+)(\/.*)$/.exec(url) ?? [];
    if (folders[folder]) return folders[folder](rest, response);
    const script = PAGES[url.slice(1)];
    if (script) return response.writeHead(200, { 'content-type': 'text/html' }).end(`${PAGE}${script}</script>`);
    if (url === '/sdk-0.1.mjs') return response.writeHead(200, { 'content-type': 'text/javascript' }).end(bundle.outputFiles[0].text);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(url === '/token' ? await issue() : { baseURL: gatelet.url, agentId: agent.id }));
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  origin = `http://localhost:${site.address().port}`;
});
after(async () => {
  site?.closeAllConnections();
  site?.close();
  await gatelet?.stop();
});
beforeEach(() => {
  backEnd = { lifetime: 600, tellsLifetime: true, tokens: [], running: 0, most: 0, hold: undefined };
});

async function issue() {
  backEnd.most = Math.max(backEnd.most, (backEnd.running += 1));
  await backEnd.hold;
  const { token, expiresAt } = await server.accessTokens.create({
    policy: [{ type: 'agent', id: agent.id, access: ['read_messages', 'write_messages'] }],
    hostname: origin,
    expires_at: inSeconds(backEnd.lifetime),
  });
  backEnd.running -= 1;
  backEnd.tokens.push(token);
  return backEnd.tellsLifetime ? { token, expiresAt } : { token };
}

/** Notes what the page sends to Gatelet: `[path, status, code]`. */
function watch(page) {
  const seen = [];
  page.on('response', async (response) => {
    if (!response.url().startsWith(gatelet.url) || response.request().method() === 'OPTIONS') return;
    const code = response.status() === 401 ? (await response.json()).code : undefined;
    seen.push([new URL(response.url()).pathname.replace(/.*\/agents\/[^/]+/, ''), response.status(), code]);
  });
  return seen;
}

const refusals = (seen) => seen.filter(([, status]) => status === 401).map(([, , code]) => code);
const say = (page, text) => page.evaluate((text) => window.say(text), text);
const ready = (page) => page.waitForFunction(() => window.list);

for (const generation of Object.keys(PAGES)) {
  const openPage = async (open) => {
    const page = await open(`${origin}/${generation}`);
    await ready(page);
    return page;
  };

  browserTest(`${generation}: requests share the first token and, once it is revoked, the next one`, async (open) => {
    const page = await openPage(open);
    const seen = watch(page);
    assert.equal(backEnd.tokens.length, 0);
    const lists = () => page.evaluate(() => Promise.all([window.list(), window.list(), window.list(), window.list()]));
    await lists();
    assert.equal(await say(page, 'Hello'), 'Echo: Hello');
    assert.equal(backEnd.tokens.length, 1);
    await server.accessTokens.delete(backEnd.tokens[0]);
    const counts = await lists();
    assert.ok(counts.every((count) => count > 0));
    assert.equal(await say(page, 'Still there?'), 'Echo: Still there?');
    assert.equal(backEnd.tokens.length, 2);
    const codes = refusals(seen);
    assert.ok(codes.length >= 1 && codes.every((code) => code === 'token_revoked'), String(codes));
  });

  browserTest(`${generation}: a message that is refused because its token has expired is sent again, once`, async (open) => {
    Object.assign(backEnd, { lifetime: 1, tellsLifetime: false });
    const page = await openPage(open);
    const seen = watch(page);
    await page.evaluate(() => window.list());
    const probe = new Letta({ baseURL: gatelet.url, apiKey: backEnd.tokens[0], defaultHeaders: { Origin: origin } });
    await until('the token has expired', () => probe.agents.messages.list(agent.id).then(() => false, () => true));
    backEnd.lifetime = 600;
    assert.equal(await say(page, 'Good morning'), 'Echo: Good morning');
    assert.deepEqual(refusals(seen), ['token_expired']);
    assert.equal(backEnd.tokens.length, 2);
    const said = seen.filter(([path]) => path === '/messages/stream').map(([, status]) => status);
    assert.deepEqual(said, [401, 200]);
  });

  browserTest(`${generation}: a token whose life is known is renewed before it ends`, async (open) => {
    backEnd.lifetime = 2;
    const page = await openPage(open);
    const seen = watch(page);
    await page.evaluate(() => window.list());
    backEnd.lifetime = 600;
    await until('the page has a second token', () => backEnd.tokens.length === 2);
    await page.evaluate(() => window.list());
    assert.deepEqual(refusals(seen), []);
  });

  browserTest(`${generation}: a stream that has begun is not sent again when its token ends`, async (open) => {
    const page = await openPage(open);
    const seen = watch(page);
    await page.evaluate(() => {
      window.outcome = window.say('[[slow:400]] one two three four five six').then(String, (error) => `failed: ${error}`);
    });
    await until('the stream has begun', () => seen.some(([path]) => path === '/messages/stream'));
    await server.accessTokens.delete(backEnd.tokens[0]);
    assert.notEqual(await page.evaluate(() => window.outcome), 'Echo: one two three four five six');
    await page.evaluate(() => window.list());
    assert.equal(seen.filter(([path]) => path === '/messages/stream').length, 1);
    assert.deepEqual(refusals(seen), ['token_revoked']);
  });
}

browserTest('two tabs ask the back end one after the other', async (open) => {
  const first = await open(`${origin}/1.x`);
  const second = await first.context().newPage();
  await second.goto(`${origin}/1.x`);
  await Promise.all([first, second].map(ready));
  let release;
  backEnd.hold = new Promise((resolve) => (release = resolve));
  const lists = Promise.all([first, second].map((page) => page.evaluate(() => window.list())));
  const waiting = () => first.evaluate(async () => (await navigator.locks.query()).pending.length);
  await until('one waits for the other', async () => (await waiting()) === 1);
  assert.deepEqual([backEnd.running, backEnd.most], [1, 1]);
  release();
  await lists;
  assert.deepEqual([backEnd.most, backEnd.tokens.length], [1, 2]);
});
