// Starts the programs under test and waits for conditions: shared by the SDK tests and the browser tests.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.GATELET_BINARY ?? fileURLToPath(new URL('../../target/debug/gatelet', import.meta.url));

/**
 * Starts `gatelet serve` on a free port with nothing but memory behind it.
 *
 * When it stops, no rule of docs/verdicts.md may be broken that is an error. A test that breaks one on purpose does so in a
 * place of its own, `gatelet.allowing({ rule: 'reason' })`, or on a server of its own, after `gatelet.allow(rule, reason)`.
 */
export const startGatelet = (...flags) => startGateletWith({}, ...flags);

/** The same, with variables in its environment. */
export async function startGateletWith(env, ...flags) {
  const server = await startProgram(
    BINARY,
    ['serve', '--ephemeral', '--listen', '127.0.0.1:0', '--log-format', 'json', ...flags],
    env,
    (line) => JSON.parse(line),
  );
  const { event, url, api_key: apiKey } = server.ready;
  if (event !== 'listening') throw new Error(`the banner should say that Gatelet is listening: ${event}`);
  const control = (method, path, body) => callControl(url, apiKey, method, path, body);
  // A gateway, and a mock that listens on other addresses, have none.
  const hasControl = (await control('GET', '')) !== null;
  return {
    url,
    apiKey,
    async allow(rule, reason, namespace = 'default') {
      if (hasControl) await control('POST', `/ns/${namespace}/verdicts/allow`, { rule, reason });
    },
    async allowing(rules) {
      if (!hasControl) return { url, apiKey };
      const namespace = await control('POST', '/ns', {});
      for (const [rule, reason] of Object.entries(rules)) await this.allow(rule, reason, namespace.name);
      return { url, apiKey: namespace.api_key };
    },
    async stop() {
      try {
        if (hasControl) await checkVerdicts(control);
      } catch (error) {
        // The test runner does not count what fails after the last test of a suite.
        process.exitCode = 1;
        throw error;
      } finally {
        await server.stop();
      }
    },
  };
}

/** A call of the control API; null where there is none. */
async function callControl(url, key, method, path, body) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const response = await fetch(`${url}/_gatelet/v1${path}`, { method, headers, body: JSON.stringify(body) });
  const text = await response.text();
  if (response.status === 404 && path === '') return null;
  if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
  return text === '' ? {} : JSON.parse(text);
}

/** Fails if a rule that is an error was broken in any namespace where that is not allowed. */
async function checkVerdicts(control) {
  const { namespaces } = await control('GET', '/ns');
  const broken = [];
  for (const { name } of namespaces) {
    const { findings } = await control('GET', `/ns/${name}/verdicts?min=error`);
    for (const { rule, sentence, evidence } of findings.filter(({ allowed }) => allowed === null)) {
      const entries = [];
      for (const id of evidence) entries.push(await control('GET', `/ns/${name}/journal/${id}`).catch(() => id));
      broken.push(`${rule}: ${sentence}\n${JSON.stringify(entries)}`);
    }
  }
  if (broken.length > 0) throw new Error(`the clients of this suite break rules:\n${broken.join('\n')}`);
}

/**
 * Starts a program and resolves once `ready` makes something of its first line of output.
 *
 * The developer's own GATELET_* and LETTA_* variables do not reach it: a test means what it says on any machine.
 */
export async function startProgram(command, args, env, ready) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GATELET|LETTA)_/.test(name));
  const child = spawn(command, args, {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killIfLeft = () => child.kill('SIGKILL');
  process.on('exit', killIfLeft);

  // The log is shown only when the program fails: in a passing run it is noise.
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  const failure = (problem) => new Error(`${command} ${problem}; its log:\n${log}`);

  const firstLine = new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  const line = await Promise.race([
    firstLine,
    ended.then((code) => {
      throw failure(`ended with ${code} before it was ready`);
    }),
  ]);

  return {
    ready: ready(line),
    async stop() {
      child.kill('SIGTERM');
      const code = await ended;
      process.off('exit', killIfLeft);
      if (code !== 0) throw failure(`should stop with 0 when asked to, not with ${code}`);
    },
  };
}

/** Asks again until `condition` gives something truthy, and returns that. */
export async function until(what, condition) {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`gave up waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The moment `seconds` from now, as tokens take it in `expires_at`. */
export const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
