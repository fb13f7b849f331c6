// What the package does without a test runner: servers, namespaces, errors.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

process.env.GATELET_BINARY = (await import('./install.mjs')).BINARY;
const { connectGatelet, forwardNamespace, GateletError, startGatelet } = await import('../../../packages/npm/index.mjs');
const { PACKAGE } = await import('./install.mjs');
const { problemsOf } = (await import('../../../packages/npm/lib/judge.cjs')).default;

const ORIGIN = 'http://localhost:3000';
const AGENT = { ref: 'helper', name: 'helper', model: 'openai/gpt-4o-mini' };
const TOKEN = { ref: 'page', agent: 'helper', access: ['write_messages'], hostname: ORIGIN };
const SEED = { agent: [AGENT], token: [TOKEN] };
const TOML = `[[agent]]\nref = "helper"\nname = "helper"\nmodel = "openai/gpt-4o-mini"\n`;

let server, folder;

before(async () => {
  server = await startGatelet({ seed: SEED });
  folder = mkdtempSync(join(tmpdir(), 'gatelet-core-'));
});
after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const file = (name, text) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const post = (url, bearer, path, body, headers) =>
  fetch(url + path, { method: 'POST', body: JSON.stringify(body), headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json', ...headers } });
const say = (ns, token, input = 'Hello') => post(ns.baseURL, token, `/v1/agents/${ns.refs.helper}/messages`, { input }, { origin: ORIGIN });
/** Runs a script that has the package as `gatelet`. */
const script = (text) => {
  const source = `import * as gatelet from ${JSON.stringify(`file://${PACKAGE}index.mjs`)};\n${text}`;
  return spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
};
const lineOf = (child) => new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
const exitOf = (child) => new Promise((resolve) => child.on('exit', resolve));

test('a namespace begins with the server’s seed or its own, however that is given', async () => {
  assert.ok(server.default.refs.helper);
  assert.ok((await server.namespace()).tokens.page.token);
  writeFileSync(join(folder, 'agents.json'), JSON.stringify({ agent: [AGENT] }));
  for (const seed of [{ agent: [AGENT] }, join(folder, 'agents.json'), new URL(`file://${folder}/agents.json`), file('a.toml', TOML)]) {
    const ns = await server.namespace({ seed });
    assert.deepEqual(Object.keys(ns.refs), ['helper'], String(seed));
    await ns.reset();
    assert.deepEqual(Object.keys(ns.refs), ['helper'], 'after a reset');
  }
  const both = await server.namespace({ seed: [join(folder, 'a.toml'), { agent: [{ ...AGENT, ref: 'other' }] }] });
  assert.deepEqual(Object.keys(both.refs).sort(), ['helper', 'other']);
  const headers = { authorization: `Bearer ${both.apiKey}` };
  const agent = await (await fetch(`${both.baseURL}/v1/agents/${both.refs.helper}/export`, { headers })).text();
  mkdirSync(join(folder, 'seeds'));
  writeFileSync(join(folder, 'seeds/a-helper.af'), agent);
  writeFileSync(join(folder, 'seeds/b.toml'), TOML.replaceAll('helper', 'other'));
  writeFileSync(join(folder, 'seeds/notes.md'), 'Not a seed.');
  assert.deepEqual(Object.keys((await server.namespace({ seed: join(folder, 'seeds') })).refs), ['other', 'a-helper'], 'agent files last');
  assert.deepEqual((await server.namespace({ seed: null })).refs, {});
});

test('a mistake in a seed is named, and leaves no namespace', async () => {
  const before = (await server.namespaces()).length;
  const wrong = file('wrong.toml', TOML.replace('model', 'modle'));
  await assert.rejects(server.namespace({ name: 'wrong', seed: wrong }), (error) => {
    assert.ok(error instanceof GateletError);
    assert.deepEqual([error.status, error.code, error.at], [422, 'seed_invalid', 'line 4']);
    assert.match(error.message, /modle/);
    return true;
  });
  assert.equal((await server.namespaces()).length, before);
  await assert.rejects(server.namespace({ seed: 'nowhere.toml' }), /nowhere\.toml/);
  await assert.rejects(server.namespace({ nmae: 'x' }), /nmae/);
});

test('tokens are issued, expire and are revoked', async () => {
  const ns = await server.namespace();
  const token = await ns.token('helper', ['write_messages'], { origin: ORIGIN });
  assert.equal((await say(ns, token)).status, 200);
  await ns.expire(token);
  assert.equal((await (await say(ns, token)).json()).code, 'token_expired');
  await ns.revoke(ns.tokens.page);
  assert.equal((await (await say(ns, ns.tokens.page.token)).json()).code, 'token_revoked');
  const long = await ns.token(ns.refs.helper, ['write_messages'], { origin: ORIGIN, expiresIn: 3600 });
  await ns.advance('59m');
  assert.equal((await say(ns, long)).status, 200);
  await ns.advance('2m');
  assert.equal((await say(ns, long)).status, 401);
});

test('reset, snapshot and restore keep refs and tokens up to date', async () => {
  const ns = await server.namespace();
  await ns.snapshot('ready');
  const first = ns.tokens.page.token;
  const dropped = await ns.reset();
  assert.equal(dropped.agent, 1);
  assert.notEqual(ns.tokens.page.token, first);
  assert.equal((await say(ns, first)).status, 401);
  assert.equal((await say(ns, ns.tokens.page.token)).status, 200);
  await ns.restore('ready');
  assert.equal(ns.tokens.page.token, first);
  assert.equal((await say(ns, first)).status, 200);
  const copy = await ns.fork();
  assert.notEqual(copy.name, ns.name);
  assert.equal(copy.refs.helper, ns.refs.helper);
  await ns.reset({ to: 'empty' });
  assert.deepEqual(ns.refs, {});
});

test('the clock of a page moves by as much as the server’s', async () => {
  const ns = await server.namespace({ clock: '2026-01-05T09:00:00Z' });
  const moved = [];
  const page = { clock: { fastForward: async (milliseconds) => moved.push(milliseconds) } };
  await ns.advance('90s', { page });
  await ns.advance({ to: '2026-01-05T09:03:00Z' }, { page });
  assert.deepEqual(moved, [90_000, 90_000]);
  assert.equal(Date.parse((await ns.clock()).now), Date.parse('2026-01-05T09:03:00Z'));
  await ns.setClock({ frozen: false });
  assert.equal((await ns.clock()).frozen, false);
});

test('the journal is waited for, and what is missing is reported with what came near', async () => {
  const ns = await server.namespace();
  const waiting = ns.journal.waitFor({ operation: 'SendMessage', body: { '/input': 'second' } });
  await say(ns, ns.tokens.page.token, 'first');
  await say(ns, ns.tokens.page.token, 'second');
  const entry = await waiting;
  assert.deepEqual(entry.sent.body, { input: 'second' });
  assert.equal((await ns.journal.waitFor({ operation: 'SendMessage' }, { count: 2 })).id, entry.id);
  const missing = ns.journal.waitFor({ operation: 'SendMessage', body: { '/input': 'third' } }, { within: '10ms' });
  await assert.rejects(missing, /"third": found "(first|second)"/);
  await ns.verify([{ operation: 'SendMessage', times: 2 }], { nothing_else: true });
  const { entries, next } = await ns.journal.list({ operation: 'SendMessage', limit: 1 });
  assert.equal(entries.length, 1);
  assert.equal((await ns.journal.list({ after: next })).entries.length, 1);
  const decision = await ns.explain({ token: ns.tokens.page.token, method: 'GET', path: '/v1/agents/', origin: ORIGIN });
  assert.equal(decision.outcome, 'denied');
  await ns.journal.clear();
  assert.deepEqual((await ns.journal.list()).entries, []);
});

test('replies are added, used and removed', async (t) => {
  if (!server.features.includes('replies')) return t.skip('the program has no replies at run time');
  const ns = await server.namespace({ replies: [['moon', 'Full.']] });
  const said = async (input) => (await (await say(ns, ns.tokens.page.token, input)).json()).messages.at(-1).content;
  const id = await ns.reply(/weather in (?<city>\w+)/i, [{ reasoning: 'Look it up.' }, { assistant: 'In $city it is sunny.' }], { times: 1 });
  assert.equal(await said('The WEATHER in Rome?'), 'In Rome it is sunny.');
  assert.equal(await said('The weather in Rome?'), 'Echo: The weather in Rome?');
  assert.equal(await said('The moon?'), 'Full.');
  assert.equal((await ns.replies()).find((reply) => reply.id === id).hits, 1);
  const unused = await ns.reply({ user: /^time/, agent: 'helper' }, 'Noon.');
  assert.deepEqual((await ns.unused()).replies, [unused]);
  assert.match((await problemsOf(ns)).join(), new RegExp(`"${unused}" was never used`));
  await ns.clearReplies(unused);
  assert.deepEqual(await problemsOf(ns), []);
  await ns.clearReplies();
  await ns.script('[[reply]]\nuser = "time"\nsteps = [{ assistant = "Noon." }]');
  assert.equal(await said('What time is it?'), 'Noon.');
  await assert.rejects(ns.reply(/(?=x)/, 'y'), { code: 'script_invalid', status: 422 });
  for (const seed of [undefined, null]) {
    const scripted = await server.namespace({ seed, script: '[[reply]]\nuser = "time"\nsteps = [{ assistant = "One." }]' });
    await scripted.reset();
    assert.equal((await scripted.replies()).length, 1, 'after a reset');
  }
});

test('faults are added, fire and are removed', async (t) => {
  if (!['faults', 'replies'].every((name) => server.features.includes(name))) return t.skip('the program has no faults');
  const ns = await server.namespace();
  const [id] = await ns.fault({ where: { operation: 'SendMessage' }, when: { nth: [1] }, do: { status: 503 } });
  const status = async (input) => (await say(ns, ns.tokens.page.token, input)).status;
  // The same text once more would be a retry, to which the same happens.
  assert.deepEqual([await status('One'), await status('Two')], [503, 200]);
  const [fault] = await ns.faults();
  assert.deepEqual([fault.id, fault.fired], [id, 1]);
  const two = await ns.fault([{ where: { operation: 'ListAgents' }, do: { status: 500 } }, { where: { operation: 'ListAgents' }, do: { status: 502 } }]);
  assert.equal(two.length, 2);
  assert.match((await problemsOf(ns)).join(), new RegExp(`The fault "${two[0]}" never fired`));
  await ns.clearFaults(id);
  assert.equal((await ns.faults()).length, 2);
  await ns.clearFaults();
  assert.deepEqual(await ns.faults(), []);
  await assert.rejects(ns.fault({ do: { no: 1 } }), { code: 'fault_invalid', status: 422 });
});

test('what the client does wrong is found, unless it is allowed', async (t) => {
  if (!server.features.includes('verdicts')) return t.skip('the program has no verdicts');
  const ns = await server.namespace();
  await say(ns, ns.apiKey);
  const { findings } = await ns.verdicts('error');
  assert.deepEqual(findings.map(({ rule }) => rule), ['api_key_in_browser']);
  assert.match((await problemsOf(ns)).join(), /^api_key_in_browser: .+/);
  await ns.allow('api_key_in_browser', 'this test is about that');
  assert.deepEqual(await problemsOf(ns), []);
});

test('what the server is too old for is said before it is tried', async () => {
  for (const [feature, use] of Object.entries({
    replies: (ns) => ns.reply('x', 'y'),
    faults: (ns) => ns.fault({ do: { status: 500 } }),
    verdicts: (ns) => ns.verdicts(),
  })) {
    const older = await connectGatelet(server);
    older.features = older.features.filter((name) => name !== feature);
    const message = new RegExp(`has no ${feature}: use a newer version`);
    await assert.rejects(async () => use(await older.namespace()), message);
  }
});

test('a server that is not one, or may not be used, is a sentence', async () => {
  await assert.rejects(connectGatelet({ url: server.url, apiKey: 'sk-let-wrongwrongwrong' }), GateletError);
  await assert.rejects(connectGatelet({ url: '' }), /GATELET_URL and GATELET_KEY/);
  const other = createServer((request, response) => response.writeHead(404).end('{}')).listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const url = `http://127.0.0.1:${other.address().port}/`;
  await assert.rejects(connectGatelet({ url, apiKey: 'k' }), /has no control API/);
  await new Promise((resolve) => other.close(resolve));
  await assert.rejects(connectGatelet({ url, apiKey: 'k' }), /cannot be reached \(ECONNREFUSED\)/);
});

test('a server that does not start says why', async () => {
  await assert.rejects(startGatelet({ args: ['--no-such-flag'] }), /ended with 2; its log:[^]*--no-such-flag/);
  await assert.rejects(startGatelet({ seed: join(folder, 'absent.toml') }), /absent\.toml/);
  await assert.rejects(startGatelet({ binary: '/nowhere/gatelet' }), /\/nowhere\/gatelet cannot be started \(ENOENT\)/);
});

test('settings of the developer do not reach a server that a test starts', async () => {
  process.env.GATELET_UPSTREAM_URL = 'http://127.0.0.1:1';
  try {
    await (await startGatelet()).stop();
  } finally {
    delete process.env.GATELET_UPSTREAM_URL;
  }
  const strict = await startGatelet({ env: { GATELET_CONTROL__REQUIRE_NAMESPACE: 'true' } });
  const response = await fetch(`${strict.url}/v1/agents/`, { headers: { authorization: `Bearer ${strict.apiKey}` } });
  assert.equal((await response.json()).code, 'namespace_required');
  await strict.stop();
});

test('a log that nobody reads does not stop the server', async () => {
  const ns = await server.namespace();
  const list = () => fetch(`${ns.baseURL}/v1/agents/`, { headers: { authorization: `Bearer ${ns.apiKey}` } }).then((response) => response.text());
  for (let n = 0; n < 40; n += 1) await Promise.all(Array.from({ length: 20 }, list));
});

test('a server ends with the process that started it, and keeps none alive', async () => {
  const left = script('const { url } = await gatelet.startGatelet(); console.log(url);');
  const url = await lineOf(left);
  assert.equal(await exitOf(left), 0);
  const isGone = async () => {
    for (;;) await fetch(`${url}/readyz`).then((response) => response.text());
  };
  await assert.rejects(isGone());

  const killed = script('const { url } = await gatelet.startGatelet(); console.log(url); setInterval(() => {}, 1000);');
  const other = await lineOf(killed);
  assert.equal((await fetch(`${other}/readyz`)).status, 200);
  killed.kill('SIGKILL');
  await exitOf(killed);
  await assert.rejects(async () => {
    for (;;) await fetch(`${other}/readyz`).then((response) => response.text());
  });
});

test('stopping does not wait for streams that nobody ends', async () => {
  const own = await startGatelet({ seed: SEED });
  const { refs, tokens } = own.default;
  const stream = await post(own.url, tokens.page.token, `/v1/agents/${refs.helper}/messages/stream`, { input: '[[slow:60000]] one two' }, { origin: ORIGIN });
  const begun = performance.now();
  await own.stop();
  assert.ok(performance.now() - begun < 10_000);
  await assert.rejects(stream.text());
});

test('a back end forwards the namespace of a request, in tests only', async () => {
  const ns = await server.namespace();
  const list = async (fetch) => {
    const response = await fetch(`${server.url}/v1/agents/`, { headers: { authorization: `Bearer ${server.apiKey}` } });
    return [response.status, response.headers.get('x-gatelet-entry')?.split('/')[0]];
  };
  assert.equal(forwardNamespace(() => ns.name, fetch), fetch, 'without GATELET_URL it is fetch itself');
  process.env.GATELET_URL = server.url;
  try {
    for (const source of [ns.name, `gatelet-ns=${ns.name}`, `a=b; gatelet-ns=${ns.name}; c=d`]) {
      assert.deepEqual(await list(forwardNamespace(() => source)), [200, ns.name], source);
    }
    for (const source of [undefined, null, '', 'a=b', 'not-gatelet-ns=x', 'gatelet-ns=', 'gatelet-ns=a b']) {
      assert.deepEqual(await list(forwardNamespace(() => source)), [200, 'default'], String(source));
    }
    assert.equal((await list(forwardNamespace(() => 'unknown')))[0], 404);
  } finally {
    delete process.env.GATELET_URL;
  }
});

test('where there is no program for a platform, a sentence says what to do', () => {
  const said = (platform, loaders, call = 'binaryPath()') => {
    const source = `const fs = require('node:fs');
      fs.readdirSync = () => ${JSON.stringify(loaders)};
      Object.defineProperty(process, 'platform', { value: ${JSON.stringify(platform)} });
      const { binaryPath, cannotStart } = require(${JSON.stringify(`${PACKAGE}lib/binary.cjs`)});
      try { console.log(${call}); } catch (error) { console.log(error.message); }`;
    const env = { ...process.env, GATELET_BINARY: '' };
    return spawnSync(process.execPath, ['-e', source], { env, encoding: 'utf8' }).stdout;
  };
  const [glibc, musl] = [['ld-linux-x86-64.so.2', 'libc.so.6'], ['ld-musl-x86_64.so.1']];
  assert.match(said('win32', []), /^There is no package of Gatelet for win32-.*WSL/);
  assert.match(said('freebsd', []), /^There is no package of Gatelet for freebsd-.*linux-x64.*GATELET_BINARY/);
  assert.match(said('linux', glibc), /@gatelet\/linux-\w+, .* is not installed.*npm\/cli\/issues\/4828/);
  assert.match(said('linux', musl), /musl, such as Alpine.*node:22-slim.*GATELET_BINARY/);
  // A program whose loader is missing exists, and is "not found".
  const start = `cannotStart(process.execPath, { code: 'ENOENT' })`;
  assert.match(said('linux', musl, start), /such as Alpine/);
  assert.match(said('linux', glibc, start), /cannot be started \(ENOENT\)/);
});
