// gatelet/browser against a server that refuses on command. Real browsers and the real Gatelet: tests/browser.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { tokenFetch } from '../../../packages/npm/browser/index.mjs';

const SOURCE = fileURLToPath(new URL('../../../packages/npm/browser/index.mjs', import.meta.url));

let server, url, requests, respond;

before(async () => {
  server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const received = { bearer: request.headers.authorization, body: Buffer.concat(chunks).toString(), headers: request.headers };
    requests.push(received);
    const { status = 200, body = { ok: true }, ...more } = (await respond(received, requests.length, response)) ?? {};
    if (more.isDone) return;
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});
beforeEach(() => {
  requests = [];
  respond = () => undefined;
});

const refusal = (code) => ({ status: 401, body: { message: 'No.', ...(code && { code }) } });
/** Refuses every token but these. */
const accepting = (code, ...good) => ({ bearer }) => (good.includes(bearer) ? undefined : refusal(code));

/** A back end that issues T1, T2, ... */
function backEnd(details = {}) {
  let issued = 0;
  const fetchToken = async () => {
    issued += 1;
    return { token: `T${issued}`, ...details };
  };
  return { fetchToken, issued: () => issued };
}
const bearers = () => requests.map(({ bearer }) => bearer?.replace('Bearer ', ''));
/** Lets everything that is due run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('the first token is fetched once for all requests, and replaces what the SDK set', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken });
  assert.equal(issued(), 0);
  const headers = { Authorization: 'Bearer of-the-sdk', 'x-other': 'kept' };
  await Promise.all([send(url, { headers }), send(new URL(url), { headers: new Headers(headers) }), send(new Request(url, { headers }))]);
  assert.equal(issued(), 1);
  assert.deepEqual(bearers(), ['T1', 'T1', 'T1']);
  assert.ok(requests.every((request) => request.headers['x-other'] === 'kept'));
});

test('a token that the page has is used first', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken, token: { token: 'T0', expiresIn: 60 } });
  await send(url);
  assert.deepEqual([issued(), bearers()], [0, ['T0']]);
});

for (const code of ['token_expired', 'token_revoked', undefined]) {
  test(`a request that is refused (${code ?? 'without a code'}) is sent again with a new token`, async () => {
    const { fetchToken, issued } = backEnd();
    const send = tokenFetch({ fetchToken });
    await send(url);
    respond = accepting(code, 'Bearer T2');
    requests = [];
    const response = await send(url, { method: 'POST', body: 'text' });
    assert.equal(response.status, 200);
    assert.equal(issued(), 2);
    assert.deepEqual(requests.map(({ bearer, body }) => [bearer, body]), [['Bearer T1', 'text'], ['Bearer T2', 'text']]);
  });
}

test('many requests that are refused at once share one renewal', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken });
  await send(url);
  respond = accepting('token_expired', 'Bearer T2');
  const responses = await Promise.all(Array.from({ length: 20 }, () => send(url)));
  assert.ok(responses.every(({ status }) => status === 200));
  assert.equal(issued(), 2);
});

test('so do many that are refused without a code, also one after the renewal', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken });
  await send(url);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  respond = async ({ bearer, body }) => {
    if (body === 'late') await held;
    return bearer === 'Bearer T2' ? undefined : refusal();
  };
  const late = send(url, { method: 'POST', body: 'late' });
  const responses = await Promise.all(Array.from({ length: 5 }, () => send(url)));
  release();
  assert.ok([...responses, await late].every(({ status }) => status === 200));
  assert.equal(issued(), 2);
});

test('other refusals are passed on as they are', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken });
  for (const [status, code] of [[401, 'bearer_invalid'], [401, 'llm_authentication'], [403, 'token_expired'], [429, 'rate_limited'], [500, undefined]]) {
    respond = () => ({ status, body: { code } });
    const response = await send(url);
    assert.deepEqual([response.status, await response.json()], [status, code ? { code } : {}]);
  }
  assert.deepEqual([issued(), requests.length], [1, 5]);
});

test('the code may be within an error object', async () => {
  for (const [code, tokens] of [['bearer_invalid', 1], ['token_expired', 2]]) {
    const { fetchToken, issued } = backEnd();
    respond = () => ({ status: 401, body: { error: { code } } });
    assert.equal((await tokenFetch({ fetchToken })(url)).status, 401);
    assert.equal(issued(), tokens, code);
  }
});

test('a request is repeated once, and a 401 without a code costs no token for every request', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken });
  respond = () => refusal('token_expired');
  assert.equal((await send(url)).status, 401);
  assert.deepEqual([issued(), requests.length], [2, 2]);
  respond = () => refusal();
  for (let n = 0; n < 5; n += 1) assert.equal((await send(url)).status, 401);
  assert.ok(issued() <= 4, `${issued()} tokens`);
  // Once a token was accepted, the next such refusal is worth a token again.
  respond = () => undefined;
  await send(url);
  const before = issued();
  respond = () => refusal();
  await send(url);
  assert.equal(issued(), before + 1);
});

test('the response that the page gets can be read', async () => {
  const { fetchToken } = backEnd();
  respond = () => refusal('token_expired');
  const response = await tokenFetch({ fetchToken })(url);
  assert.deepEqual(await response.json(), { message: 'No.', code: 'token_expired' });
});

test('bodies that can be read again are sent again, others are not', async () => {
  const form = new FormData();
  form.set('a', '1');
  const again = { text: 'x', bytes: new Uint8Array([120]), blob: new Blob(['x']), query: new URLSearchParams('a=1'), form };
  for (const [what, body] of Object.entries(again)) {
    requests = [];
    const { fetchToken } = backEnd();
    respond = accepting('token_expired', 'Bearer T2');
    assert.equal((await tokenFetch({ fetchToken })(url, { method: 'POST', body })).status, 200, what);
    assert.equal(requests.length, 2, what);
    if (what !== 'form') assert.equal(requests[0].body, requests[1].body, what);
    assert.ok(requests[1].body.length > 0, what);
  }
  const request = new Request(url, { method: 'POST', body: 'in a request' });
  requests = [];
  assert.equal((await tokenFetch(backEnd())(request)).status, 200);
  assert.deepEqual(requests.map(({ body }) => body), ['in a request', 'in a request']);

  async function* chunks() {
    yield Buffer.from('x');
  }
  for (const body of [new Blob(['x']).stream(), chunks()]) {
    requests = [];
    const { fetchToken, issued } = backEnd();
    const send = tokenFetch({ fetchToken });
    const response = await send(url, { method: 'POST', body, duplex: 'half' });
    assert.deepEqual([response.status, requests.length, issued()], [401, 1, 1]);
    // The token is known to be of no use: the next request does not try it.
    assert.equal((await send(url)).status, 200);
    assert.deepEqual(bearers(), ['T1', 'T2']);
  }
});

test('a response that has begun is never asked for again', async () => {
  const { fetchToken, issued } = backEnd();
  respond = (_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"code":"token_expired"}\n\n', () => response.destroy());
    return { isDone: true };
  };
  const response = await tokenFetch({ fetchToken })(url, { method: 'POST', body: '{}' });
  await assert.rejects(response.text());
  assert.deepEqual([issued(), requests.length], [1, 1]);
});

test('nor is a request whose connection failed', async () => {
  const { fetchToken, issued } = backEnd();
  respond = (_, __, response) => {
    response.destroy();
    return { isDone: true };
  };
  await assert.rejects(tokenFetch({ fetchToken })(url, { method: 'POST', body: '{}' }));
  assert.deepEqual([issued(), requests.length], [1, 1]);
});

test('a token is renewed at four fifths of its life, if it was used', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_800_000_000_000 });
  for (const life of [{ expiresIn: 100 }, { expiresAt: () => Date.now() + 100_000 }, { expires_at: () => new Date(Date.now() + 100_000).toISOString() }]) {
    let issued = 0;
    const details = () => Object.fromEntries(Object.entries(life).map(([name, value]) => [name, typeof value === 'function' ? value() : value]));
    const send = tokenFetch({ fetchToken: () => ({ token: `T${(issued += 1)}`, ...details() }) });
    requests = [];
    await send(url);
    t.mock.timers.tick(79_999);
    await turn();
    assert.equal(issued, 1);
    t.mock.timers.tick(1);
    await turn();
    assert.equal(issued, 2, 'by its timer');
    t.mock.timers.tick(1_000_000);
    await turn();
    assert.equal(issued, 2, 'a page that sends nothing gets no more tokens');
    await Promise.all([send(url), send(url)]);
    assert.deepEqual([issued, bearers()], [3, ['T1', 'T3', 'T3']]);
  }
});

test('a timer does not fire at once because a life is long', async (t) => {
  const delays = [];
  t.mock.method(globalThis, 'setTimeout', (_, delay) => void delays.push(delay) ?? { unref() {} });
  tokenFetch({ ...backEnd(), token: { token: 'T0', expiresIn: 365 * 24 * 3600 } });
  assert.deepEqual(delays, [2 ** 31 - 1]);
});

test('a token in its last fifth serves while the back end fails', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  let isDown = false;
  const fetchToken = async () => {
    if (isDown) throw new Error('down');
    return { token: 'T1', expiresIn: 100 };
  };
  const send = tokenFetch({ fetchToken });
  await send(url);
  isDown = true;
  t.mock.timers.tick(90_000);
  assert.equal((await send(url)).status, 200);
  respond = () => refusal('token_expired');
  await assert.rejects(send(url), /down/);
});

test('the back end’s response may be returned as it is', async () => {
  const json = (status, body) => new Response(JSON.stringify(body), { status });
  let given = json(200, { token: 'T1', expiresAt: '2999-01-01T00:00:00Z' });
  const send = tokenFetch({ fetchToken: () => given });
  await send(url);
  assert.deepEqual(bearers(), ['T1']);
  given = json(403, { message: 'Log in first.' });
  respond = () => refusal('token_revoked');
  const responses = await Promise.all([send(url), send(url)]);
  for (const response of responses) assert.deepEqual([response.status, await response.json()], [403, { message: 'Log in first.' }]);
  // It is no token: the next request asks again.
  given = json(200, 'T2');
  respond = () => undefined;
  assert.equal((await send(url)).status, 200);
  assert.equal(bearers().at(-1), 'T2');
});

test('what the back end returns instead of a token is an error', async () => {
  for (const given of [undefined, null, {}, { token: 1 }, 7]) {
    await assert.rejects(tokenFetch({ fetchToken: () => given })(url), TypeError);
  }
  assert.equal(requests.length, 0);
});

test('a failed renewal does not stay', async () => {
  let attempts = 0;
  const send = tokenFetch({
    fetchToken: async () => {
      attempts += 1;
      if (attempts === 1) throw new Error('no network');
      return 'T1';
    },
  });
  await assert.rejects(send(url), /no network/);
  assert.equal((await send(url)).status, 200);
});

test('a request can be given up while it waits for a token', async () => {
  const send = tokenFetch({ fetchToken: () => new Promise(() => {}) });
  const controller = new AbortController();
  const waiting = send(url, { signal: controller.signal });
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  await assert.rejects(send(new Request(url, { signal: AbortSignal.abort() })), { name: 'AbortError' });
  assert.equal(requests.length, 0);
});

test('only requests below baseURL get the token', async () => {
  const { fetchToken, issued } = backEnd();
  const send = tokenFetch({ fetchToken, baseURL: `${url}/letta` });
  for (const path of ['/', '/lettas', '/letta/../other']) await send(url + path);
  await send(new Request(`${url}/x`), { headers: { authorization: 'own' } });
  await send(`${url.replace('127.0.0.1', 'localhost')}/letta`);
  assert.deepEqual([issued(), bearers()], [0, [undefined, undefined, undefined, 'own', undefined]]);
  for (const path of ['/letta', '/letta/', '/letta/v1/agents/']) await send(url + path);
  assert.deepEqual(bearers().slice(5), ['T1', 'T1', 'T1']);
});

/** A lock as the Web Locks API has it, for tabs in one process. */
function lockManager() {
  let tail = Promise.resolve();
  return {
    request: (name, { signal }, task) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        tail = tail.then(() => (signal.aborted ? undefined : Promise.resolve(task()).then(resolve, reject)), () => {});
        tail.catch(() => {});
      }),
  };
}

async function withLocks(locks, body) {
  const original = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
  try {
    await body();
  } finally {
    if (original) Object.defineProperty(globalThis, 'navigator', original);
    else delete globalThis.navigator;
  }
}

test('tabs fetch one after the other where there are locks', async () => {
  let running = 0;
  let most = 0;
  const fetchToken = async () => {
    most = Math.max(most, (running += 1));
    await turn();
    running -= 1;
    return 'T1';
  };
  await withLocks(lockManager(), async () => {
    const tabs = Array.from({ length: 4 }, () => tokenFetch({ fetchToken }));
    await Promise.all(tabs.map((send) => send(url)));
  });
  assert.equal(most, 1);
  await Promise.all(Array.from({ length: 4 }, () => tokenFetch({ fetchToken })(url)));
  assert.ok(most > 1, 'without locks they do not wait');
});

test('a page without permission for locks, and an error under a lock', async () => {
  const refused = { request: () => Promise.reject(new DOMException('opaque origin', 'SecurityError')) };
  await withLocks(refused, async () => assert.equal((await tokenFetch(backEnd())(url)).status, 200));
  await withLocks(lockManager(), async () => {
    let attempts = 0;
    const fetchToken = () => Promise.reject(new Error(`attempt ${(attempts += 1)}`));
    await assert.rejects(tokenFetch({ fetchToken })(url), /attempt 1/);
  });
});

test('it is less than 3 KB minified, and stands alone', () => {
  const { stdout } = spawnSync('npx', ['esbuild', SOURCE, '--minify', '--format=esm'], { encoding: 'utf8', cwd: fileURLToPath(new URL('.', import.meta.url)) });
  assert.match(stdout, /tokenFetch/);
  assert.ok(Buffer.byteLength(stdout) < 3 * 1024, `${Buffer.byteLength(stdout)} bytes`);
  assert.doesNotMatch(readFileSync(SOURCE, 'utf8'), /\bimport\b|require\(/);
});
