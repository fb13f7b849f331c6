// examples/chat, used as its users use it.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startGatelet, startProgram, until } from '../support/gatelet.mjs';
import { browserTest, countAppends, Letta } from './browser.mjs';

const CHAT = fileURLToPath(new URL('../../examples/chat/server.mjs', import.meta.url));

let gatelet, server, chat, hurriedChat;

before(async () => {
  gatelet = await startGatelet();
  server = new Letta({ baseURL: gatelet.url, apiKey: gatelet.apiKey });
  [chat, hurriedChat] = await Promise.all([startChat({}), startChat({ TOKEN_LIFETIME_SECONDS: '2' })]);
});
after(() => Promise.all([gatelet, chat, hurriedChat].map((each) => each?.stop())));

async function startChat(settings) {
  const env = { PORT: '0', LETTA_BASE_URL: gatelet.url, LETTA_API_KEY: gatelet.apiKey, ...settings };
  const { ready, stop } = await startProgram(process.execPath, [CHAT], env, (line) => line.replace('Chat on ', ''));
  return { origin: ready, stop };
}

async function logIn(page, user, password) {
  await page.fill('input[name=user]', user);
  await page.fill('input[name=password]', password);
  await page.click('#login button');
}

async function say(page, text) {
  await page.fill('input[name=text]', text);
  await page.click('#composer button');
  await page.locator('#messages .assistant', { hasText: `Echo: ${text}` }).waitFor();
}

const messages = (page) => page.locator('#messages li').allTextContents();

/** What the page's own session can do with the SDK: run in the page, with a token of its own. */
const readAgent = (page, agentId) =>
  page.evaluate(async (agentId) => {
    const { Letta } = await import('/sdk/index.mjs');
    const session = await (await fetch('/token', { method: 'POST' })).json();
    const client = new Letta({ baseURL: session.baseURL, apiKey: session.token });
    try {
      const list = await client.agents.messages.list(agentId ?? session.agentId);
      return { agentId: session.agentId, count: list.getPaginatedItems().length };
    } catch (error) {
      return { agentId: session.agentId, code: error.error?.code, sentence: error.message };
    }
  }, agentId);

/** Notes the tokens that a page is given, and Gatelet's word for each 401 that it meets. */
function watch(page) {
  const seen = { tokens: [], codes: [] };
  page.on('response', async (response) => {
    if (response.url().endsWith('/token') && response.ok()) seen.tokens.push((await response.json()).token);
    if (response.url().startsWith(gatelet.url) && response.status() === 401) {
      seen.codes.push((await response.json()).code);
    }
  });
  return seen;
}

/** Gatelet's word for a request with this token that it refuses in any case: no token is for this agent. */
async function wordFor(token, origin) {
  const client = new Letta({ baseURL: gatelet.url, apiKey: token, defaultHeaders: { Origin: origin } });
  const refusal = await client.agents.messages.list('agent-00000000-0000-4000-8000-000000000000').catch((error) => error);
  return refusal.error.code;
}

browserTest('two users chat side by side, and neither reaches the other’s agent', async (open) => {
  const [alice, bob] = await Promise.all([open(chat.origin), open(chat.origin)]);
  await Promise.all([logIn(alice, 'alice', 'wonderland'), logIn(bob, 'bob', 'builder')]);
  await countAppends(alice, '#messages .assistant');
  await Promise.all([say(alice, 'Hello, this is Alice speaking'), say(bob, 'And this is Bob')]);
  assert.deepEqual(await messages(alice), ['Hello, this is Alice speaking', 'Echo: Hello, this is Alice speaking']);
  assert.deepEqual(await messages(bob), ['And this is Bob', 'Echo: And this is Bob']);
  assert.ok((await alice.evaluate(() => window.appends)) > 1, 'the reply should appear piece by piece');

  const own = await readAgent(alice);
  const others = await readAgent(bob);
  assert.ok(own.count > 0 && others.count > 0 && own.agentId !== others.agentId);
  for (const [page, agentId] of [[alice, others.agentId], [bob, own.agentId]]) {
    const refusal = await readAgent(page, agentId);
    assert.equal(refusal.code, 'agent_not_in_policy');
    assert.ok(refusal.sentence.includes(agentId), refusal.sentence);
  }

  await alice.reload();
  await alice.locator('#messages .assistant').waitFor();
  assert.equal((await messages(alice))[0], 'Hello, this is Alice speaking');
});

browserTest('markup in a message stays text', async (open) => {
  const page = await open(chat.origin);
  await logIn(page, 'bob', 'builder');
  const text = '<img src=x onerror="document.title=1"><b>bold</b>';
  await say(page, text);
  assert.ok((await messages(page)).includes(`Echo: ${text}`));
  assert.equal(await page.locator('#messages li > *').count(), 0);
});

browserTest('a wrong password lets nobody in', async (open) => {
  const page = await open(chat.origin);
  await logIn(page, 'alice', 'undefined');
  await page.locator('#problem', { hasText: 'Wrong name or password.' }).waitFor();
  assert.equal(await page.evaluate(async () => (await fetch('/token', { method: 'POST' })).status), 401);
});

/** Opens a page whose clock the test holds. */
async function openWithClock(open, origin) {
  const page = await open(origin);
  await page.clock.install();
  await page.reload();
  return page;
}

browserTest('a page renews its token before the 24 hours are over', async (open) => {
  const page = await openWithClock(open, chat.origin);
  const seen = watch(page);
  await logIn(page, 'alice', 'wonderland');
  await say(page, 'Still early');
  assert.equal(seen.tokens.length, 1);
  await page.clock.fastForward('20:00:00');
  await until('the page has a second token', () => seen.tokens.length === 2);
  assert.notEqual(seen.tokens[0], seen.tokens[1]);
  await say(page, 'Still talking');
  assert.deepEqual(seen.codes, []);
});

browserTest('a page that slept through the timer renews its token when it wakes', async (open) => {
  const page = await openWithClock(open, hurriedChat.origin);
  const seen = watch(page);
  await logIn(page, 'bob', 'builder');
  await page.locator('#composer').waitFor();
  // The page's timers stand still from here on, as those of a sleeping laptop do.
  await page.clock.pauseAt(Date.now() + 1000);
  const expired = async () => (await wordFor(seen.tokens.at(-1), hurriedChat.origin)) === 'token_expired';
  await until('the token has expired', expired);
  seen.codes.length = 0;
  await say(page, 'Good morning');
  assert.deepEqual(seen.codes, ['token_expired']);
});

browserTest('a page whose token was deleted gets a new one without a word', async (open) => {
  const page = await open(chat.origin);
  await logIn(page, 'alice', 'wonderland');
  await say(page, 'Before');
  const seen = watch(page);
  const { tokens } = await server.accessTokens.list({ limit: 1000 });
  await Promise.all(tokens.map(({ token }) => server.accessTokens.delete(token)));
  await say(page, 'After');
  assert.deepEqual(seen.codes, ['token_revoked']);
  assert.equal(seen.tokens.length, 1);
});

browserTest('logging out ends the tokens', async (open) => {
  const page = await open(chat.origin);
  const seen = watch(page);
  await logIn(page, 'alice', 'wonderland');
  await page.locator('#composer').waitFor();
  await until('the token was seen', () => seen.tokens.length > 0);
  const [token] = seen.tokens;
  assert.equal(await wordFor(token, chat.origin), 'agent_not_in_policy');
  await page.click('#logout');
  await page.locator('#login').waitFor();
  assert.equal(await wordFor(token, chat.origin), 'token_revoked');
});
