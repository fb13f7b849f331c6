// The command line of Letta Code, unmodified: one prompt without a terminal, with the mock as its Letta server.
//
// It gets a home and a working folder of its own, and nothing beyond this machine: what it tries to reach is noted.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startGatelet } from '../../support/gatelet.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const LETTA = here('node_modules/@letta-ai/letta-code/letta.js');
const LOOPBACK_ONLY = here('loopback-only.cjs');
/** Without these it reports to Letta, and asks npm whether there is a newer version. */
const OFFLINE = { LETTA_CODE_TELEM: '0', DISABLE_AUTOUPDATER: '1' };

describe('Letta Code', () => {
  let gatelet, folder, work, noted;

  /** Runs `letta` to its end. */
  async function run(args, env = OFFLINE) {
    await writeFile(noted, '');
    const child = spawn(process.execPath, ['--require', LOOPBACK_ONLY, LETTA, ...args], {
      cwd: work,
      env: {
        PATH: process.env.PATH,
        HOME: join(folder, 'home'),
        BEYOND_LOOPBACK: noted,
        LETTA_BASE_URL: gatelet.url,
        LETTA_API_KEY: gatelet.apiKey,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const killIfLeft = () => child.kill('SIGKILL');
    process.on('exit', killIfLeft);
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => (texts[name] += text));
    }
    const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
    process.off('exit', killIfLeft);
    const reached = (await readFile(noted, 'utf8')).split('\n').filter(Boolean);
    return { code, reached: [...new Set(reached)].sort(), ...texts };
  }

  /** Runs `letta`, which must succeed and stay on this machine, and returns what it prints. */
  async function letta(...args) {
    const { code, reached, stdout, stderr } = await run(args);
    assert.equal(code, 0, stderr);
    assert.deepEqual(reached, []);
    return stdout;
  }

  /** One prompt, and the result that it prints as JSON. */
  async function prompt(text, ...flags) {
    const result = JSON.parse(await letta('-p', text, ...flags, '--output-format', 'json'));
    assert.deepEqual([result.type, result.subtype, result.is_error], ['result', 'success', false]);
    return result;
  }

  async function get(path) {
    const answer = await fetch(gatelet.url + path, { headers: { Authorization: `Bearer ${gatelet.apiKey}` } });
    assert.equal(answer.status, 200);
    return answer.json();
  }

  /** What was said in a conversation, oldest first. */
  const said = (conversation) => get(`/v1/conversations/${conversation}/messages?order=asc&limit=100`);

  /** All that the user is on record as having said: the command line adds what it knows of its surroundings. */
  const ofUser = (messages) => messages.filter((message) => message.message_type === 'user_message').map(textOf);

  before(async () => {
    gatelet = await startGatelet();
    folder = await mkdtemp(join(tmpdir(), 'gatelet-letta-code-'));
    work = join(folder, 'work');
    noted = join(folder, 'beyond-loopback');
    await mkdir(join(folder, 'home'));
    await mkdir(work);
  });
  after(async () => {
    await gatelet?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  test('a prompt is answered, as text', async () => {
    const printed = await letta('-p', 'Hello there');
    assert.match(printed, /^Echo: /);
    assert.match(printed, /Hello there\n*$/);
  });

  test('a prompt is answered, as JSON, by an agent that it makes once', async () => {
    const first = await prompt('Hello there');
    const messages = await said(first.conversation_id);
    const [heard] = ofUser(messages);
    assert.ok(heard.endsWith('Hello there'), heard);
    assert.equal(first.result, `Echo: ${heard}`);
    assert.equal(first.num_turns, 1);
    assert.ok(first.usage.total_tokens === first.usage.prompt_tokens + first.usage.completion_tokens);
    assert.ok(first.usage.completion_tokens > 0 && first.usage.step_count === 1);

    const second = await prompt('Hello again');
    assert.equal(second.agent_id, first.agent_id);
    assert.notEqual(second.conversation_id, first.conversation_id);
    const agents = JSON.parse(await letta('agents', 'list'));
    assert.deepEqual(agents.body.map(({ id }) => id), [first.agent_id]);
  });

  test('a prompt is answered event by event', async () => {
    const printed = await letta('-p', 'Hello there', '--output-format', 'stream-json');
    const events = printed.trim().split('\n').map((line) => JSON.parse(line));
    const [begin, end] = [events[0], events.at(-1)];
    assert.deepEqual([begin.type, begin.subtype], ['system', 'init']);
    assert.deepEqual([end.type, end.subtype], ['result', 'success']);
    const pieces = events.filter((event) => event.message_type === 'assistant_message').map(textOf);
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(''), end.result);
    assert.ok(end.result.startsWith('Echo: ') && end.result.endsWith('Hello there'));
  });

  test('a conversation is continued', async () => {
    const { agent_id, conversation_id } = await prompt('Call me Ishmael');
    const next = await prompt('And again', '--conversation', conversation_id);
    assert.deepEqual([next.agent_id, next.conversation_id], [agent_id, conversation_id]);
    const heard = ofUser(await said(conversation_id));
    assert.deepEqual(heard.map((text, index) => text.endsWith(['Call me Ishmael', 'And again'][index])), [true, true]);
  });

  test('its own tools run when the agent calls them, and the agent hears what they returned', async () => {
    await writeFile(join(work, 'fruit.txt'), 'three apples\n');
    for (const { tool, text, returned } of [
      { tool: 'Read', text: `file_path "${join(work, 'fruit.txt')}"`, returned: /three apples/ },
      { tool: 'Write', text: `file_path "${join(work, 'new.txt')}" and content "pears"`, returned: /new\.txt/ },
      { tool: 'Bash', text: 'command "printf %s-%s out of"', returned: /^out-of$/ },
      { tool: 'Read', text: `file_path "${join(work, 'nowhere.txt')}"`, returned: /not exist|no such/i },
    ]) {
      const { result, num_turns, conversation_id } = await prompt(`Use the ${tool} tool with ${text}`);
      const messages = await said(conversation_id);
      const call = messages.find((message) => message.message_type === 'approval_request_message').tool_call;
      assert.equal(call.name, tool);
      const answer = messages.find((message) => message.message_type === 'tool_return_message');
      assert.equal(answer.tool_call_id, call.tool_call_id);
      assert.match(answer.tool_return, returned);
      assert.equal(result, `The tool returned: ${answer.tool_return}`);
      assert.equal(num_turns, 2);
    }
    assert.equal(await readFile(join(work, 'new.txt'), 'utf8'), 'pears');
  });

  test('a key that the server does not know ends it, with the reason', async () => {
    const { code, stdout, stderr } = await run(['-p', 'Hello'], { ...OFFLINE, LETTA_API_KEY: 'sk-let-unknown-to-all' });
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /401 This bearer token is not valid on this server/);
  });

  test('only the two switches keep it on this machine', async () => {
    const { code, reached } = await run(['-p', 'Hello'], {});
    assert.equal(code, 0);
    assert.deepEqual(reached, ['api.letta.com', 'registry.npmjs.org']);
  });
});

/** The text of a message, or of a piece of one, however it is given. */
function textOf({ content }) {
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('\n');
}
