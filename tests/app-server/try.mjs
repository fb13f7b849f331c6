// What a page can and cannot do, tried with the official client against a real App Server behind Gatelet. See ./run.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const { APP_SERVER_URL, APP_SERVER_TOKEN, APP_SERVER_DIR, APP_SERVER_CLIENT, GATELET_BINARY } = process.env;
const { createAppServerClient } = await import(APP_SERVER_CLIENT);

const ORIGIN = 'https://app.example';
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const stubRequests = () => {
  const file = path.join(APP_SERVER_DIR, 'stub-requests.jsonl');
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : [];
};
async function eventually(what, holds, ms = 20_000) {
  for (const end = Date.now() + ms; ; await sleep(50)) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
  }
}

// ---- the gate
const gate = spawn(GATELET_BINARY, ['serve', '--ephemeral', '--listen', '127.0.0.1:0', '--log-format', 'json', '--app-server', APP_SERVER_URL,
  '--metrics-listen', '127.0.0.1:0'], {
  env: { GATELET_APP_SERVER_TOKEN: APP_SERVER_TOKEN, GATELET_APP_SERVER__INPUTS_PER_MINUTE: '0', GATELET_APP_SERVER__FRAMES_PER_MINUTE: '0' },
  stdio: ['ignore', 'pipe', 'pipe'],
});
process.on('exit', () => gate.kill());
let log = '';
gate.stderr.on('data', (text) => { log += text; });
const banner = JSON.parse(await new Promise((done) => createInterface({ input: gate.stdout }).once('line', done)));
const KEY = banner.api_key;
const lingering = async () => {
  const text = await (await fetch(banner.metrics)).text();
  return Number(/^gatelet_app_server_lingering_sockets (\d+)$/m.exec(text)[1]);
};
const SOCKET = banner.url.replace('http', 'ws') + '/ws';
async function api(method, route, body) {
  const response = await fetch(banner.url + route, {
    method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${route}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}
const ALL = ['read_messages', 'write_messages', 'read_agent', 'write_agent'];
async function token(agents, access = ALL, lifetime = 600_000) {
  const policy = agents.map((id) => ({ type: 'agent', id, access }));
  const body = { hostname: ORIGIN, policy, expires_at: new Date(Date.now() + lifetime).toISOString() };
  return (await api('POST', '/v1/client-side-access-tokens', body)).token;
}

// ---- clients. A page sends Origin; Node's WebSocket needs to be told.
class PageSocket extends WebSocket {
  constructor(url, options) { super(url, { headers: { ...options?.headers, Origin: ORIGIN } }); }
}
const received = []; // everything that pages were sent
async function connect(options) {
  const client = createAppServerClient({ requestTimeoutMs: 10_000, ...options });
  client.got = [];
  client.closed = new Promise((done) => client.onDisconnect(({ event }) => done({ code: event.code, reason: event.reason })));
  client.onMessage((message) => client.got.push(message));
  await client.connect();
  client.events = (type, conversation) => client.got.filter((message) =>
    message.type === type && (!conversation || message.runtime?.conversation_id === conversation));
  return client;
}
async function page(token) {
  const client = await connect({ url: `${SOCKET}?token=${token}`, WebSocket: PageSocket });
  client.onMessage((message) => received.push(JSON.stringify(message)));
  return client;
}
const operator = await connect({ url: APP_SERVER_URL, authToken: APP_SERVER_TOKEN });
// A proxy that checks nothing: Gatelet with an API key.
const naive = () => connect({ url: SOCKET, authToken: KEY });

let messages = 0;
const message = (text) => ({ kind: 'create_message', messages: [{ role: 'user', content: text, client_message_id: `m-${messages++}-${Date.now()}` }] });
const textOf = (client, conversation, from = 0) => client.got.slice(from)
  .filter((m) => m.type === 'stream_delta' && m.runtime.conversation_id === conversation && m.delta.message_type === 'assistant_message')
  .map((m) => m.delta.content.map((part) => part.text).join('')).join('');
async function turn(client, runtime, text) {
  const from = client.got.length;
  const sent = await client.submitInput({ runtime, payload: message(text) });
  assert.equal(sent.accepted, true, sent.error);
  await eventually(`the end of the turn of ${text}`, () =>
    client.got.slice(from).some((m) => m.type === 'turn_finished' && m.runtime.conversation_id === runtime.conversation_id));
  return textOf(client, runtime.conversation_id, from);
}
async function start(client, agent_id, rest = {}) {
  const started = await client.runtimeStart({ agent_id, ...rest });
  assert.equal(started.success, true, started.error);
  return started.runtime;
}

// ---- two agents
async function agent(name) {
  const created = await operator.request('agent_create', { body: { name, model: 'lmstudio/stub-model' } });
  assert.equal(created.success, true, created.error);
  return created.agent.id;
}
const ada = await agent('ada'), bob = await agent('bob');
async function conversation(agent_id) {
  const created = await operator.request('conversation_create', { body: { agent_id } });
  assert.equal(created.success, true, created.error);
  return created.conversation.id;
}
const foreign = await conversation(bob);
const secret = 'the secret of bob';
await start(operator, bob, { conversation_id: foreign });
await turn(operator, { agent_id: bob, conversation_id: foreign }, `[[say ${secret}]]`);

let failures = 0;
async function check(name, run) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${name}\n        ${String(error.stack ?? error).split('\n').slice(0, 6).join('\n        ')}`);
  }
}
// An attack returns whether it succeeded. It must fail for a page, and succeed where nothing is checked.
async function attack(name, run) {
  await check(name, async () => {
    assert.equal(await run(await page(await token([ada])), 'page'), false, 'it succeeded through the gate');
    assert.equal(await run(await naive(), 'naive'), true, 'it failed where nothing is checked, so this test shows nothing');
  });
}

// ---- what a page can do
await check('a page talks to its agent', async () => {
  const client = await page(await token([ada]));
  const info = await client.info();
  assert.equal(info.success, true);
  assert.equal(info.capabilities.agent_management, false);
  const runtime = await start(client, ada, { conversation_id: 'default' });
  assert.equal(await turn(client, runtime, '[[say hello there]]'), 'hello there');
  assert.equal((await client.sync({ runtime })).success, true);
  const own = await client.conversationList({ query: { agent_id: ada } });
  assert.equal(own.success, true, own.error);
  const listed = await client.request('conversation_messages_list', { conversation_id: 'default', query: { agent_id: ada } });
  assert.ok(JSON.stringify(listed.messages).includes('hello there'), JSON.stringify(listed));
  client.close();
});
await check('a page creates a conversation, renames it and finds it again', async () => {
  const client = await page(await token([ada]));
  const created = await client.request('conversation_create', { body: { agent_id: ada, summary: 'mine' } });
  assert.equal(created.success, true, created.error);
  const id = created.conversation.id;
  const runtime = await start(client, ada, { conversation_id: id });
  assert.equal(await turn(client, runtime, '[[say in my own]]'), 'in my own');
  assert.equal((await client.request('conversation_update', { conversation_id: id, body: { summary: 'renamed' } })).success, true);
  const found = await client.request('conversation_retrieve', { conversation_id: id });
  assert.equal(found.conversation?.summary, 'renamed', JSON.stringify(found));
  client.close();
});
await check('two users of one gate reach an agent each', async () => {
  const [one, other] = [await page(await token([ada])), await page(await token([bob]))];
  const runtimes = [await start(one, ada), await start(other, bob)];
  const said = await Promise.all([turn(one, runtimes[0], '[[say for ada]]'), turn(other, runtimes[1], '[[say for bob]]')]);
  assert.deepEqual(said, ['for ada', 'for bob']);
  assert.ok(!JSON.stringify(one.got).includes('for bob') && !JSON.stringify(other.got).includes('for ada'));
  one.close(); other.close();
});
await check('an abort stops the turn', async () => {
  const client = await page(await token([ada]));
  const runtime = await start(client, ada);
  assert.equal((await client.submitInput({ runtime, payload: message('[[slow 100]]') })).accepted, true);
  await eventually('a delta', () => textOf(client, runtime.conversation_id) !== '');
  assert.equal((await client.abort({ runtime })).aborted, true);
  await eventually('the end', () => client.events('turn_finished').length === 1);
  assert.equal(await turn(client, runtime, '[[say after]]'), 'after');
  client.close();
});

// ---- attacks: section by section
const raw = (client, frame) => client.sendRaw(frame);
await attack('an input without a started runtime', async (client, who) => {
  const id = await conversation(ada);
  const runtime = { agent_id: ada, conversation_id: id };
  const sent = await client.submitInput({ runtime, payload: message(`[[say ran for ${who}]]`) });
  return sent.accepted;
});
await attack('a turn in a foreign conversation, with the page\'s own agent', async (client) => {
  await start(client, ada, { conversation_id: 'default' });
  const runtime = { agent_id: ada, conversation_id: foreign };
  const before = stubRequests().length;
  const sent = await client.submitInput({ runtime, payload: message('[[say intruder]]') });
  if (!sent.accepted) return false;
  await eventually('the model is asked', () => stubRequests().length > before);
  return JSON.stringify(stubRequests().slice(before)).includes(secret);
});
await attack('reading a foreign conversation', async (client) => {
  const read = await client.request('conversation_messages_list', { conversation_id: foreign, query: {} });
  return JSON.stringify(read).includes(secret);
});
await attack('finding out whose a conversation is', async (client) => {
  const found = JSON.stringify(await client.request('conversation_retrieve', { conversation_id: foreign }));
  return found.includes(bob);
});
await attack('copying a foreign conversation', async (client) =>
  (await client.request('conversation_fork', { conversation_id: foreign })).success);
await attack('renaming a foreign conversation', async (client, who) =>
  (await client.request('conversation_update', { conversation_id: foreign, body: { summary: `by ${who}` } })).success);
await attack('listing the conversations of all agents', async (client) =>
  JSON.stringify(await client.request('conversation_list', {})).includes(bob));
await attack('listening to a foreign conversation after a malformed frame', async (client) => {
  raw(client, { type: 'input', request_id: 'bad', runtime: { agent_id: bob, conversation_id: foreign }, payload: { kind: 'create_message' } });
  raw(client, { type: 'sync', runtime: { agent_id: bob, conversation_id: foreign } });
  await sleep(300);
  await turn(operator, { agent_id: bob, conversation_id: foreign }, '[[say private to bob]]');
  await sleep(300);
  return client.got.some((m) => m.runtime?.conversation_id === foreign && m.type !== 'input_accepted' && m.type !== 'sync_response');
});
await attack('the undocumented form of an input', async (client, who) => {
  const id = await conversation(ada);
  const before = stubRequests().length;
  raw(client, { type: 'message', agentId: ada, conversationId: id, messages: [{ role: 'user', content: `undocumented ${who}` }] });
  await sleep(2000);
  return JSON.stringify(stubRequests().slice(before)).includes(`undocumented ${who}`);
});
await attack('a tool for an input right behind its start', async (client) => {
  const id = await conversation(ada);
  const before = stubRequests().length;
  const started = client.runtimeStart({ agent_id: ada, conversation_id: id });
  const sent = await client.submitInput({ runtime: { agent_id: ada, conversation_id: id }, payload: message('[[say quick]]') });
  assert.equal((await started).success, true);
  assert.equal(sent.accepted, true, sent.error);
  const asked = await eventually('the model is asked', () => stubRequests().slice(before).find((r) => JSON.stringify(r.messages).includes('quick')));
  return asked.tools.length > 0;
});
await attack('a program, by a tool call of the model', async (client, who) => {
  const file = path.join(APP_SERVER_DIR, `proof-${who}`);
  const runtime = await start(client, ada, {});
  await turn(client, runtime, `[[tool Bash {"command": "touch ${file}", "description": "test"}]]`);
  // It neither ran nor blocks the conversation.
  assert.equal(await turn(client, runtime, '[[say and on]]'), 'and on');
  return fs.existsSync(file);
});
await attack('a program, by asking for its tools in every way', async (client, who) => {
  const file = path.join(APP_SERVER_DIR, `proof-asked-${who}`);
  const started = await client.runtimeStart({ agent_id: ada, mode: 'unrestricted', cwd: '/',
    execution_settings: { tools: ['Bash'], allowed_tools: ['Bash'], disallowed_tools: [], disable_memory_guard: true } });
  if (!started.success) return false;
  const payload = { ...message(`[[tool Bash {"command": "touch ${file}", "description": "test"}]]`),
    client_tool_allowlist: ['Bash'], exclude_interactive_tools: false };
  const sent = await client.submitInput({ runtime: started.runtime, payload });
  if (!sent.accepted) return false;
  await eventually('the end', () => client.events('turn_finished').length > 0);
  return fs.existsSync(file);
});
await attack('a file on the host, by an option of git', async (client, who) => {
  const name = `proof-git-${who}`;
  const found = () => {
    const files = execFileSync('find', [APP_SERVER_DIR, '-path', '*/venv', '-prune', '-o', '-name', name, '-print'], { encoding: 'utf8' });
    return files.trim() !== '';
  };
  await client.request('memory_file_at_ref', { agent_id: ada, file_path: 'system/human.md', ref: `--output=${name}` }, { timeoutMs: 3000 }).catch(() => {});
  await client.request('memory_commit_diff', { agent_id: ada, sha: `--output=${name}` }, { timeoutMs: 3000 }).catch(() => {});
  return found();
});
await attack('the configuration of git in an agent\'s memory', async (client) => {
  const read = await client.request('read_memory_file', { agent_id: ada, path: '.git/config' });
  const written = await client.request('write_memory_file', { agent_id: ada, path: '.git/hooks/x', content: 'x' }, { timeoutMs: 3000 }).catch(() => ({}));
  return Boolean(read.success || written.success);
});
await attack('a shell', async (client) => {
  raw(client, { type: 'terminal_spawn', terminal_id: 't-1', cols: 80, rows: 24 });
  await sleep(1500);
  return client.events('terminal_spawned').length + client.events('terminal_output').length > 0;
});
await attack('a file of the host', async (client) => {
  const read = await client.request('read_file', { path: '/etc/passwd' }, { timeoutMs: 3000 }).catch(() => ({}));
  return JSON.stringify(read).includes('root:');
});
await attack('the mode of a foreign conversation', async (client) => {
  raw(client, { type: 'change_device_state', runtime: { agent_id: bob, conversation_id: foreign }, payload: { mode: 'acceptEdits', conversation_id: foreign } });
  await sleep(2500);
  return client.got.length > 0;
});
await attack('where the server is', async (client) => {
  const runtime = await start(client, ada, { force_device_status: true });
  await turn(client, runtime, '[[say hello]]');
  await sleep(300);
  return JSON.stringify(client.got).includes(APP_SERVER_DIR);
});

// ---- how sockets end
await check('a page that reloads in the middle of a turn leaves a conversation that works', async () => {
  const access = await token([ada]);
  let client = await page(access);
  const runtime = await start(client, ada);
  assert.equal((await client.submitInput({ runtime, payload: message('[[slow 20]]') })).accepted, true);
  await eventually('a delta', () => textOf(client, runtime.conversation_id) !== '');
  client.close();
  await sleep(500);
  client = await page(access);
  await start(client, ada, { conversation_id: runtime.conversation_id });
  await eventually('the turn goes on and ends', () => client.events('turn_finished').length === 1);
  assert.equal(await turn(client, runtime, '[[say works]]'), 'works');
  client.close();
});
await check('a lone page that leaves, with nobody behind it, does too', async () => {
  let client = await page(await token([ada]));
  const runtime = await start(client, ada);
  assert.equal((await client.submitInput({ runtime, payload: message('[[slow 20]]') })).accepted, true);
  await eventually('a delta', () => textOf(client, runtime.conversation_id) !== '');
  await eventually('nothing stays of earlier pages', async () => (await lingering()) === 0);
  client.close();
  await eventually('the gate stays', async () => (await lingering()) === 1);
  await eventually('until the turn has ended', async () => (await lingering()) === 0);
  client = await page(await token([ada]));
  await start(client, ada, { conversation_id: runtime.conversation_id });
  assert.equal(await turn(client, runtime, '[[say works]]'), 'works');
  client.close();
});
for (const how of ['expires', 'is revoked']) {
  await check(`a token that ${how} in the middle of a turn ends the page's socket and not the turn`, async () => {
    const access = await token([ada], ALL, how === 'expires' ? 3000 : 600_000);
    const client = await page(access);
    const runtime = await start(client, ada);
    assert.equal((await client.submitInput({ runtime, payload: message('[[slow 40]]') })).accepted, true);
    await eventually('a delta', () => textOf(client, runtime.conversation_id) !== '');
    if (how !== 'expires') await api('DELETE', `/v1/client-side-access-tokens/${access}`);
    const closed = await client.closed;
    assert.deepEqual(closed, { code: 4401, reason: how === 'expires' ? 'token_expired' : 'token_revoked' });
    const next = await page(await token([ada]));
    await start(next, ada, { conversation_id: runtime.conversation_id });
    await eventually('the turn ends', () => next.events('turn_finished').length === 1);
    assert.equal(await turn(next, runtime, '[[say works]]'), 'works');
    next.close();
  });
}

await check('an agent that reflects is out of reach until that is off', async () => {
  const eve = await agent('eve'), access = await token([eve]);
  const set = async (trigger) => {
    const runtime = { agent_id: eve, conversation_id: 'gatelet-probe' };
    assert.equal((await operator.request('set_reflection_settings', { runtime, settings: { trigger, step_count: 25 } })).success, true);
  };
  await set('step-count');
  const client = await page(access);
  const refused = await client.runtimeStart({ agent_id: eve, conversation_id: 'default' });
  await set('off');
  assert.equal(refused.success, false);
  assert.match(refused.error, /^agent_not_in_policy: /);
  await eventually('a warning', () => log.includes('Reflection is on'));
  await eventually('it is within reach', async () => (await client.runtimeStart({ agent_id: eve, conversation_id: 'default' })).success);
  client.close();
});

await check('no page was sent a path, the name of the host or what the harness tells the model', async () => {
  const all = received.join('\n');
  for (const private_ of [APP_SERVER_DIR, os.hostname(), '<system-reminder>', '/home/', APP_SERVER_TOKEN, secret]) {
    const line = received.find((text) => text.includes(private_));
    assert.ok(!all.includes(private_), `${private_}: ${line?.slice(0, 600)}`);
  }
  assert.ok(received.length > 100, String(received.length));
});
await check('no token is in the log', async () => {
  assert.ok(!log.includes('ck-let-') && !log.includes(APP_SERVER_TOKEN) && !log.includes('panicked'));
});

if (failures) console.log(log.split('\n').filter((line) => line.includes('WARN') || line.includes('ERROR')).slice(-20).join('\n'));
console.log(failures ? `${failures} failed` : 'all passed');
process.exit(failures ? 1 : 0);
