// The back end of examples/chat, asked what no browser asks: it answers with a short sentence and goes on.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startGatelet, startProgram } from '../support/gatelet.mjs';

const CHAT = fileURLToPath(new URL('../../examples/chat/server.mjs', import.meta.url));

let gatelet, chat, origin, log;

before(async () => {
  gatelet = await startGatelet();
  const env = { PORT: '0', LETTA_BASE_URL: gatelet.url, LETTA_API_KEY: gatelet.apiKey };
  chat = await startProgram(process.execPath, [CHAT], env, (line) => line.replace('Chat on ', ''));
  origin = chat.ready;
});
after(() => Promise.all([gatelet, chat].map((each) => each?.stop())));

/** Sends bytes as they are, and gives back what comes until the connection ends. */
function exchange(bytes) {
  return new Promise((resolve, reject) => {
    const socket = connect(new URL(origin).port, 'localhost', () => socket.write(bytes));
    let answer = '';
    socket.setEncoding('latin1').on('data', (text) => (answer += text));
    socket.on('error', (error) => (answer ? resolve(answer) : reject(error)));
    socket.on('close', () => resolve(answer));
  });
}

/** Checks that an answer is a refusal in one short JSON object. */
function assertRefused(answer, what) {
  const [head, body] = answer.split('\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 4\d\d /, `${what}: ${answer}`);
  const text = /transfer-encoding: chunked/i.test(head) ? body + answer.split('\r\n\r\n')[2] : body;
  assert.match(text, /\{"message":"[^"]{1,100}"\}/, `${what}: ${answer}`);
  assert.ok(!/\bat \S+:\d+|Error:|node:internal/.test(answer), `${what} shows a stack trace: ${answer}`);
  assert.ok(answer.length < 1000, `${what}: ${answer}`);
}

const post = (path, body, headers = {}) =>
  fetch(origin + path, { method: 'POST', body, headers: { origin, ...headers } });

async function assertAlive() {
  const login = await post('/login', JSON.stringify({ user: 'alice', password: 'wonderland' }));
  assert.equal(login.status, 200);
  return login.headers.get('set-cookie').split(';')[0];
}

test('every target is answered', async () => {
  const long = 'a'.repeat(10_000);
  for (const target of [
    '//', '///', '//x', '//x/y', '//[', '//a:b', '/\\', '/\\x', '\\', 'x', '*', '?', '#', 'http://[', 'http://x/',
    `${origin}/`, 'file:///etc/passwd', '/..', '/../server.mjs', '/%2e%2e/server.mjs', '/..%2fserver.mjs',
    '/sdk/../server.mjs', '/sdk/../../server.mjs', '/sdk/..%2f..%2fserver.mjs', '/sdk//etc/passwd.mjs',
    '/sdk/\\..\\..\\server.mjs', '/%00.mjs', '/x%00.html', '/%ff.css', '/%.css', '/%zz.css', '/x.html/', '/.html',
    '/sdk', '/sdk/', '/__proto__', '/constructor', '/x.__proto__', '/x.constructor', '/toString', '/login', '/token',
    `/${long}`, `/${long}.mjs`, `/x.mjs?${long}`, '/index.html%20', '/index.html;', '/index.html/../../package.json',
    '/file:///etc/passwd.mjs', '/http://x/y.mjs', '/#/../server.mjs', '/;/server.mjs', '/\xff', '/%F0%9F%92%A9.mjs',
  ]) {
    const answer = await exchange(Buffer.from(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`, 'latin1'));
    // What is no request at all, Node itself refuses without a word.
    if (/^HTTP\/1\.1 400 Bad Request\r\nConnection: close\r\n\r\n$/.test(answer)) continue;
    assertRefused(answer, target.slice(0, 60));
  }
  for (const path of ['/', '/index.html', '/?x=//', '/style.css', '/chat.mjs', '/sdk/index.mjs']) {
    assert.equal((await fetch(origin + path)).status, 200, path);
  }
  await assertAlive();
});

test('every method is answered', async () => {
  for (const method of ['HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', '__proto__']) {
    for (const path of ['/', '/login', '/token', '//']) {
      const answer = await exchange(`${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 4\d\d /, `${method} ${path}: ${answer}`);
    }
  }
  for (const path of ['/', '/x', '//', '/login/', '/LOGIN']) assert.ok((await post(path, '{}')).status < 500, path);
});

test('every body of a login is answered', async () => {
  const right = { user: 'alice', password: 'wonderland' };
  for (const body of [
    '', ' ', '{', '}', 'null', 'true', '1', '"alice"', '[]', '[{"user":"alice","password":"wonderland"}]', '{}', '\0',
    '{"user":"alice"}', '{"password":"wonderland"}', '{"password":{"toString":1}}', '{"user":"alice","password":null}',
    '{"user":{"toString":1},"password":"wonderland"}', '{"user":"alice","password":{"toString":"x","valueOf":1}}',
    '{"user":"alice","password":["wonderland"]}', '{"user":["alice"],"password":"wonderland"}',
    '{"user":"alice","password":1}', '{"user":"alice","password":true}', '{"__proto__":{"user":"alice","password":"wonderland"}}',
    '{"constructor":1,"user":"alice","password":{"__proto__":null}}', '{"user":"__proto__","password":"undefined"}',
    '{"user":"constructor","password":"undefined"}', '{"user":"toString","password":"undefined"}',
    '{"user":"nobody","password":"undefined"}', '{"user":"alice\\u0000","password":"wonderland"}',
    '{"user":"\\ud800","password":"\\udfff"}', '['.repeat(9_000), '{"user":'.repeat(1_000),
    JSON.stringify({ ...right, password: 'x'.repeat(9_000) }), JSON.stringify({ ...right, more: 'x'.repeat(10_000) }),
    'x'.repeat(1_000_000),
  ]) {
    const length = Buffer.byteLength(body);
    const head = `POST /login HTTP/1.1\r\nhost: x\r\norigin: ${origin}\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n`;
    assertRefused(await exchange(head + body), body.slice(0, 80));
  }
  // Neither the first bytes of what is not UTF-8 nor a body without end makes a difference.
  for (const body of [Buffer.from('{"user":"\xff","password":"x"}', 'latin1'), Buffer.from([0xff, 0xfe, 0x00])]) {
    const response = await post('/login', body);
    assert.ok([400, 401].includes(response.status));
  }
  const head = `POST /login HTTP/1.1\r\nhost: x\r\norigin: ${origin}\r\ntransfer-encoding: chunked\r\n\r\n`;
  const answer = await new Promise((resolve) => {
    let text = '';
    const socket = connect(new URL(origin).port, 'localhost', () => socket.write(head));
    const sending = setInterval(() => socket.write(`3e8\r\n${'x'.repeat(1_000)}\r\n`), 5);
    socket.setEncoding('latin1').on('data', (more) => (text += more)).on('error', () => {});
    socket.on('close', () => {
      clearInterval(sending);
      resolve(text);
    });
  });
  assertRefused(answer, 'a body without end');
  await assertAlive();
});

test('whoever leaves in the middle of a body leaves nothing behind', async () => {
  const head = `POST /login HTTP/1.1\r\nhost: x\r\norigin: ${origin}\r\ncontent-length: 100\r\n\r\n{`;
  await new Promise((resolve) => {
    const socket = connect(new URL(origin).port, 'localhost', () => socket.write(head, () => socket.destroy()));
    socket.on('close', resolve);
  });
  await assertAlive();
});

test('every session and origin is answered', async () => {
  const cookie = await assertAlive();
  const [, value] = cookie.split('=');
  const [user, expiry, signature] = value.split('.');
  for (const forged of [
    '', 'session', 'session=', 'session=x', 'session=alice', `session=bob.${expiry}.${signature}`,
    `session=${user}.9${expiry}.${signature}`, `session=${user}.${expiry}.`, `session=${user}.${expiry}.${signature}x`,
    `session=__proto__.${expiry}.${signature}`, `session=${'a'.repeat(5_000)}.1.x`, `session=a.${'9'.repeat(5_000)}.x`,
    `x${cookie}`, `session=x; ${cookie.replace(user, 'bob')}`, '; '.repeat(2_000), 'session=a.1.\xff',
  ]) {
    for (const path of ['/token', '/logout']) {
      const response = await post(path, undefined, { cookie: forged });
      assert.equal(response.status, 401, `${path} with ${forged.slice(0, 60)}`);
      assert.equal(typeof (await response.json()).message, 'string');
    }
  }
  for (const other of ['', 'null', 'http://evil.example', `${origin}/`, `${origin}.evil.example`, origin.toUpperCase()]) {
    const response = await post('/token', undefined, { cookie, origin: other });
    assert.equal(response.status, 403, other);
  }
  assert.equal((await post('/token', undefined, { cookie })).status, 200);
});
