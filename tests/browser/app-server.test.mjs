// examples/app-server-chat, used as its users use it: the unmodified official client, through Gatelet, to an App Server.
//
// That is a recorded one, or the real one of tests/app-server:
//
//   tests/app-server/start.sh run npm --prefix tests/browser test -- app-server.test.mjs

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { inSeconds, startGateletWith, startProgram, until } from '../support/gatelet.mjs';
import { startAppServer } from './app-server.mjs';
import { browserTest, countAppends, startSite } from './browser.mjs';

const CHAT = fileURLToPath(new URL('../../examples/app-server-chat/server.mjs', import.meta.url));
const { APP_SERVER_URL, APP_SERVER_TOKEN } = process.env;
/** How long the tokens of a hurried chat live. A real App Server needs up to a second to open a conversation. */
const LIFETIME_SECONDS = APP_SERVER_URL ? 10 : 4;
/** How many words a reply needs to last for so many seconds. */
const wordsFor = (seconds) => seconds * (APP_SERVER_URL ? 10 : 20);
const reply = (words) => Array.from({ length: words }, (_, index) => `word${index} `).join('');

let appServer, gatelet, strict, chat, hurriedChat, strictChat, home, elsewhere;

before(async () => {
  appServer = APP_SERVER_URL ? { url: APP_SERVER_URL, token: APP_SERVER_TOKEN, stop() {} } : await startAppServer();
  [gatelet, strict] = await Promise.all([startGate({}), startGate({ GATELET_APP_SERVER__SOCKETS_PER_TOKEN: '1' })]);
  [chat, hurriedChat, strictChat, home, elsewhere] = await Promise.all([
    startChat(gatelet, {}),
    startChat(gatelet, { TOKEN_LIFETIME_SECONDS: `${LIFETIME_SECONDS}` }),
    startChat(strict, {}),
    startSite(),
    startSite(),
  ]);
});
after(async () => {
  await Promise.all([chat, hurriedChat, strictChat, home, elsewhere].map((each) => each?.stop()));
  await Promise.all([gatelet, strict].map((each) => each?.stop()));
  await appServer?.stop();
});

function startGate(settings) {
  return startGateletWith({ GATELET_APP_SERVER_TOKEN: appServer.token, ...settings }, '--app-server', appServer.url);
}

async function startChat(gatelet, settings) {
  const env = { PORT: '0', GATELET_URL: gatelet.url, GATELET_API_KEY: gatelet.apiKey, ...settings };
  if (APP_SERVER_URL) env.LETTA_MODEL = 'lmstudio/stub-model';
  const { ready, stop } = await startProgram(process.execPath, [CHAT], env, (line) => line.replace('Chat on ', ''));
  return { origin: ready, stop };
}

async function logIn(page, user, password) {
  await page.fill('input[name=user]', user);
  await page.fill('input[name=password]', password);
  await page.click('#login button');
  await page.locator('#composer button:enabled').waitFor();
}
const asAlice = (page) => logIn(page, 'alice', 'wonderland');
const asBob = (page) => logIn(page, 'bob', 'builder');

async function send(page, text) {
  await page.fill('input[name=text]', text);
  await page.click('#composer button:enabled');
}

async function say(page, text) {
  await send(page, `[[say ${text}]]`);
  await page.locator('#messages .assistant', { hasText: text }).waitFor();
}

/** A message that says what to reply, and the reply. */
const exchange = (text) => [`[[say ${text}]]`, text];
const messages = (page) => page.locator('#messages li').allTextContents();
const notice = (page, text) => page.locator('#notice', { hasText: text }).waitFor();
const lastMessage = (page, text) => until(`the last message is ${text}`, async () => (await messages(page)).at(-1) === text);

/** Calls an operation of client tokens as the back end does. */
async function tokens(gate, method, path = '', body) {
  const response = await fetch(`${gate.url}/v1/client-side-access-tokens${path}`, {
    method,
    headers: { authorization: `Bearer ${gate.apiKey}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, `${method}: ${response.status}`);
  return response.status === 204 ? undefined : response.json();
}

async function issue(gate, agentId, origin, access = ['read_messages', 'write_messages']) {
  const policy = [{ type: 'agent', id: agentId, access }];
  return (await tokens(gate, 'POST', '', { policy, hostname: origin, expires_at: inSeconds(600) })).token;
}

async function revokeAll(gate) {
  const list = await tokens(gate, 'GET', '?limit=1000');
  await Promise.all(list.tokens.map(({ token }) => tokens(gate, 'DELETE', `/${token}`)));
}

/** What the back end issues to a page. */
const sessionOf = (page) => page.evaluate(async () => (await fetch('/token', { method: 'POST' })).json());

/** Notes the tokens that a page is given, and the frames and the ends of its sockets. */
function watch(page) {
  const seen = { tokens: [], sockets: [] };
  page.on('response', async (response) => {
    if (response.url().endsWith('/token') && response.ok()) seen.tokens.push((await response.json()).token);
  });
  page.on('websocket', (opened) => {
    const socket = { frames: [], isClosed: false };
    seen.sockets.push(socket);
    opened.on('framereceived', ({ payload }) => socket.frames.push(JSON.parse(payload)));
    opened.on('close', () => (socket.isClosed = true));
  });
  return seen;
}

/** Runs the official client in a plain page: one message, and everything that the agent says. */
const ask = (page, { socket, agentId, conversationId }) =>
  page.evaluate(async ([url, agent_id, conversation_id]) => {
    const { createAppServerClient } = await import('/client/app-server-client.js');
    const client = createAppServerClient({ url });
    const pieces = [];
    const ended = new Promise((resolve) => client.onDisconnect(({ event }) => resolve({ code: event.code })));
    try {
      await client.connect();
    } catch {
      return ended;
    }
    const start = await client.runtimeStart({ agent_id, conversation_id });
    if (!start.success) return { error: start.error };
    const finished = new Promise((resolve) => {
      client.onMessage((frame) => {
        if (frame.type === 'turn_finished') resolve();
        if (frame.delta?.message_type === 'assistant_message') pieces.push(frame.delta.content[0].text);
      });
    });
    const content = '[[say Hello from a page]]';
    const messages = [{ role: 'user', content, client_message_id: crypto.randomUUID() }];
    const sent = await client.submitInput({ runtime: start.runtime, payload: { kind: 'create_message', messages } });
    if (!sent.accepted) return { error: sent.error };
    await finished;
    client.close();
    return { pieces };
  }, [socket, agentId, conversationId]);

browserTest('a page on the bound origin streams a reply with the official client, and no other page does', async (open) => {
  const page = await open(chat.origin);
  await asBob(page);
  const { agentId, conversationId } = await sessionOf(page);
  const token = await issue(gatelet, agentId, home.origin);
  const socket = `${gatelet.url.replace('http', 'ws')}/ws?token=${token}`;
  const { pieces } = await ask(await open(home.origin), { socket, agentId, conversationId });
  assert.equal(pieces.join(''), 'Hello from a page');
  assert.ok(pieces.length > 1, 'the reply should come piece by piece');

  // The handshake is refused, which a page sees as 1006 and nothing else.
  assert.deepEqual(await ask(await open(elsewhere.origin), { socket }), { code: 1006 });
  const withKey = socket.replace(token, gatelet.apiKey);
  assert.deepEqual(await ask(await open(home.origin), { socket: withKey }), { code: 1006 });
});

browserTest('two users chat side by side, and neither reaches the other’s agent', async (open) => {
  const [alice, bob] = await Promise.all([open(chat.origin), open(chat.origin)]);
  const seen = watch(alice);
  await Promise.all([asAlice(alice), asBob(bob)]);
  await countAppends(alice, '#messages .assistant');
  await Promise.all([say(alice, 'Hello, this is Alice speaking'), say(bob, 'And this is Bob')]);
  assert.deepEqual((await messages(alice)).slice(-2), exchange('Hello, this is Alice speaking'));
  assert.deepEqual((await messages(bob)).slice(-2), exchange('And this is Bob'));
  assert.ok((await alice.evaluate(() => window.appends)) > 1, 'the reply should appear piece by piece');

  const others = await sessionOf(bob);
  const socket = `${gatelet.url.replace('http', 'ws')}/ws?token=${(await sessionOf(alice)).token}`;
  const { agentId } = await sessionOf(alice);
  for (const attack of [others, { ...others, agentId }]) {
    const { error } = await ask(alice, { ...attack, socket });
    assert.match(error, /^not_found: /);
  }

  await alice.reload();
  await alice.locator('#messages .assistant').last().waitFor();
  assert.ok((await messages(alice)).includes('Hello, this is Alice speaking'));
  // What the harness tells the model is no part of the conversation.
  assert.ok(!JSON.stringify([await messages(alice), seen.sockets]).includes('<system-reminder>'));
});

browserTest('markup in a message stays text', async (open) => {
  const page = await open(chat.origin);
  await asBob(page);
  const text = '<img src=x onerror="document.title=1"><b>bold</b>';
  await say(page, text);
  assert.deepEqual((await messages(page)).slice(-2), exchange(text));
  assert.equal(await page.locator('#messages li > *').count(), 0);
});

browserTest('a page that reloads in the middle of a turn shows the whole of it', async (open) => {
  const page = await open(chat.origin);
  await asBob(page);
  const words = wordsFor(2);
  await send(page, `Slowly [[slow ${words}]]`);
  await page.locator('#messages .assistant', { hasText: 'word3 ' }).waitFor();
  await page.reload();
  await page.locator('#messages .user', { hasText: 'Slowly' }).waitFor();
  assert.ok(await page.locator('#composer button').isDisabled(), 'the turn should go on');
  await lastMessage(page, reply(words));
  assert.equal((await messages(page)).filter((text) => text.includes('word')).length, 1);
  await say(page, 'And on');
});

browserTest('a page whose token is revoked says so, and goes on with a new one', async (open) => {
  const page = await open(chat.origin);
  await asAlice(page);
  await say(page, 'Before');
  const seen = watch(page);
  await revokeAll(gatelet);
  await notice(page, 'Your access was revoked. Connected again.');
  assert.equal(seen.tokens.length, 1);
  await say(page, 'After');
  assert.deepEqual((await messages(page)).slice(-4), [...exchange('Before'), ...exchange('After')]);
});

browserTest('tokens that expire in the middle of a turn leave no gap', async (open) => {
  const page = await open(hurriedChat.origin);
  const seen = watch(page);
  await asAlice(page);
  // Of two sockets that are open at the same time, one is behind the other.
  appServer.lagMs = 150;
  const words = wordsFor(1.75 * LIFETIME_SECONDS);
  await send(page, `[[slow ${words}]]`);
  await lastMessage(page, reply(words));
  appServer.lagMs = 0;
  assert.equal(await page.locator('#notice').textContent(), '');
  assert.ok(seen.tokens.length >= 3, `${seen.tokens.length} tokens`);
  const seqIds = seen.sockets.map(({ frames }) =>
    frames.filter(({ delta }) => delta?.message_type === 'assistant_message').map(({ delta }) => delta.seq_id),
  );
  assert.ok(Math.max(...seqIds.map((each) => each.length)) < words, 'no socket should bring everything');
  assert.ok(seqIds.flat().length > words, 'sockets should overlap');
  assert.ok(seen.sockets.filter(({ isClosed }) => isClosed).length >= 1, 'sockets should end with their tokens');
});

browserTest('a page that slept through the timer gets a new token when its socket ends', async (open) => {
  const page = await open(hurriedChat.origin);
  await page.clock.install();
  await page.reload();
  await asBob(page);
  // The page's timers stand still from here on, as those of a sleeping laptop do.
  await page.clock.pauseAt(Date.now() + 1000);
  await notice(page, 'Your access expired while this page was away. Connected again.');
  await say(page, 'Good morning');
});

browserTest('a page without access says so, and does not try again', async (open) => {
  const page = await open(chat.origin);
  await asBob(page);
  const session = await sessionOf(page);
  const token = await issue(gatelet, session.agentId, chat.origin, ['write_messages']);
  let asked = 0;
  await page.route('**/token', (route) => {
    asked += 1;
    return route.fulfill({ json: { ...session, token } });
  });
  await page.clock.install();
  await page.reload();
  await notice(page, 'You have no access to this agent.');
  await page.clock.fastForward('10:00');
  assert.equal(asked, 1);
});

browserTest('a page beyond the limit says so, and connects when it may', async (open) => {
  const one = await open(strictChat.origin);
  await asBob(one);
  const session = await sessionOf(one);
  const other = await open(strictChat.origin);
  for (const page of [one, other]) await page.route('**/token', (route) => route.fulfill({ json: session }));
  await one.reload();
  await one.locator('#composer button:enabled').waitFor();
  await other.reload();
  await notice(other, 'There are too many messages or open pages. Connecting again…');
  await one.close();
  await notice(other, 'There are too many messages or open pages. Connected again.');
});

browserTest('logging out ends the sockets of all pages of the agent', async (open) => {
  const [page, other] = await Promise.all([open(chat.origin), open(chat.origin)]);
  const seen = watch(page);
  await Promise.all([asAlice(page), asAlice(other)]);
  await page.click('#logout');
  await page.locator('#login').waitFor();
  await notice(other, 'Your access was revoked. Connected again.');
  const socket = `${gatelet.url.replace('http', 'ws')}/ws?token=${seen.tokens[0]}`;
  const code = await page.evaluate(async (url) => {
    const { createAppServerClient } = await import('/client/app-server-client.js');
    const client = createAppServerClient({ url });
    return new Promise((resolve) => client.onDisconnect(({ event }) => resolve(`${event.code} ${event.reason}`)));
  }, socket);
  assert.equal(code, '4401 token_revoked');
});

browserTest('a page whose user is logged out shows the login form, and serves the next user', async (open) => {
  const page = await open(hurriedChat.origin);
  await asAlice(page);
  await say(page, 'Only for Alice');
  await page.context().clearCookies();
  await page.locator('#login').waitFor();
  await asBob(page);
  await page.locator('#user', { hasText: 'bob' }).waitFor();
  await say(page, 'Only for Bob');
  assert.ok(!(await messages(page)).includes('Only for Alice'));
});

if (!APP_SERVER_URL) {
  browserTest('a page waits for an App Server that went away', async (open) => {
    const page = await open(chat.origin);
    await asBob(page);
    appServer.drop();
    await notice(page, 'The agent is away. Connected again.');
    await say(page, 'Welcome back');
  });
}
