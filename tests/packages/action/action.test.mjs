// The GitHub Action, by a stand-in for the runner: the inputs of action.yml as it gives them, its files, a mirror of the
// releases, `gh`, and the service for artifacts.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const ACTION = readFileSync(path('../../../action/action.yml'), 'utf8');
const VERSION = /^version = "(.+)"$/m.exec(readFileSync(path('../../../Cargo.toml'), 'utf8'))[1];
const PROGRAM = process.env.GATELET_BINARY ?? path('../../../target/debug/gatelet');
const SEED = {
  agent: [{ ref: 'helper', name: 'helper', model: 'openai/gpt-4o-mini' }],
};

/** The names of a section of action.yml, with their defaults. */
const section = (name) => {
  const [, lines] = new RegExp(`^${name}:\n((?: .*\n|\n)*)`, 'm').exec(ACTION);
  const items = [...lines.matchAll(/^ {2}(\S+):\n((?: {4}.*\n)*)/gm)];
  return Object.fromEntries(items.map(([, item, rest]) => [item, /^ {4}default: (?:""|(.*))$/m.exec(rest)?.[1] ?? '']));
};

let folder, files, servers, pids;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'action-'));
  files = Object.fromEntries(
    ['GITHUB_STATE', 'GITHUB_OUTPUT', 'GITHUB_ENV', 'GITHUB_STEP_SUMMARY'].map((name) => [name, join(folder, name)]),
  );
  for (const file of Object.values(files)) writeFileSync(file, '');
  servers = [];
  pids = [];
});
afterEach(() => {
  for (const server of servers) server.close().closeAllConnections();
  for (const pid of pids) if (runs(pid)) process.kill(pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a step as the runner does: with the inputs given, the defaults of the others, and what the first step saved. */
async function step(script, inputs = {}, env = {}) {
  const all = { ...section('inputs'), token: 'github-token', 'job-status': 'success', listen: '127.0.0.1:0', ...inputs };
  const given = Object.entries(all).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]);
  const state = Object.entries(read('GITHUB_STATE')).map(([name, value]) => [`STATE_${name}`, value]);
  const child = spawn(process.execPath, [path(`../../../action/${script}.mjs`)], {
    cwd: folder,
    env: { PATH: process.env.PATH, RUNNER_TEMP: folder, ...files, ...Object.fromEntries([...given, ...state]), ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  // Not `close`: the program that it starts may outlive it, and must not hold the runner's pipes.
  const code = await new Promise((resolve) => child.on('close', resolve));
  const { pid } = read('GITHUB_STATE');
  if (pid) pids.push(Number(pid));
  return { code, output };
}

/** What was written to a file of the runner. */
function read(name) {
  const entries = readFileSync(files[name], 'utf8').matchAll(/^(\S+)<<(\S+)\n(.*?)\n\2$/gms);
  return Object.fromEntries([...entries].map(([, key, , value]) => [key, value]));
}

function runs(pid) {
  try {
    process.kill(pid, 0);
    // One that has ended and was not waited for is still there, but has no program.
    return !existsSync('/proc') || readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    return false;
  }
}

async function serve(handle) {
  const server = createServer(async (request, response) => {
    let body = Buffer.alloc(0);
    for await (const chunk of request) body = Buffer.concat([body, chunk]);
    const [status, answer] = handle(request, body) ?? [404, 'there is none'];
    response.writeHead(status, { 'content-type': 'application/json' }).end(answer);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return `http://127.0.0.1:${server.address().port}`;
}

/** A release with the program, and a `gh` that notes its arguments and ends with this code. */
async function release({ sums, code = 0 } = {}) {
  const name = `gatelet-${VERSION}-${process.platform}-${process.arch}.tar.gz`;
  copyFileSync(PROGRAM, join(folder, 'gatelet'));
  assert.equal(spawnSync('tar', ['-czf', name, 'gatelet'], { cwd: folder }).status, 0);
  rmSync(join(folder, 'gatelet'));
  const archive = readFileSync(join(folder, name));
  const sha256 = createHash('sha256').update(archive).digest('hex');
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  writeFileSync(join(programs, 'gh'), `#!/bin/sh\necho "$GH_TOKEN $*" >${folder}/gh\nexit ${code}\n`);
  chmodSync(join(programs, 'gh'), 0o755);
  const releases = await serve(({ url }) => {
    if (url === `/v${VERSION}/${name}`) return [200, archive];
    if (url === `/v${VERSION}/SHA256SUMS`) return [200, sums ?? `${'0'.repeat(64)}  other\n${sha256}  ${name}\n`];
  });
  return { inputs: { releases }, sha256, env: { PATH: [programs, process.env.PATH].join(delimiter) } };
}

test('the version is that of the program', () => assert.equal(section('inputs').version, VERSION));

test('it starts the program for the steps that follow, and stops it', async () => {
  writeFileSync(join(folder, 'seed.json'), JSON.stringify(SEED));
  const { code, output } = await step('main', { binary: PROGRAM, seed: 'seed.json', args: ' --log warn ' });
  assert.equal(code, 0, output);
  const [outputs, env, { pid }] = [read('GITHUB_OUTPUT'), read('GITHUB_ENV'), read('GITHUB_STATE')];
  assert.deepEqual(Object.keys(outputs), Object.keys(section('outputs')));
  const { 'base-url': url, 'api-key': key, 'control-url': control } = outputs;
  assert.deepEqual(env, { LETTA_BASE_URL: url, LETTA_API_KEY: key, GATELET_URL: url, GATELET_KEY: key });
  assert.match(output, new RegExp(`^::add-mask::${key}$`, 'm'));
  assert.equal(output.split(key).length, 2, 'the key is nowhere in the log but where it is masked');

  const headers = { authorization: `Bearer ${key}` };
  const agents = await (await fetch(`${url}/v1/agents/`, { headers })).json();
  assert.deepEqual(agents.map(({ name }) => name), ['helper']);
  assert.equal((await fetch(control, { headers })).status, 200);

  assert.ok(runs(pid));
  const post = await step('post', { binary: PROGRAM });
  assert.equal(post.code, 0, post.output);
  assert.ok(!runs(pid), 'the post step stops it');
});

test('a program that does not start fails the job with its log, and the post step has nothing to do', async () => {
  writeFileSync(join(folder, 'seed.toml'), '[[agent]]\nmodle = "x"\n');
  const { code, output } = await step('main', { binary: PROGRAM, seed: 'seed.toml' });
  assert.equal(code, 1);
  assert.match(output, /^::error::Gatelet did not start.*seed\.toml line 2/m);
  assert.equal((await step('post')).code, 0);
  const missing = await step('main', { binary: 'nowhere' });
  assert.match(missing.output, /^::error::Gatelet did not start: spawn .*ENOENT/m);
  const wrong = await step('main', { binary: PROGRAM, 'fail-on': 'errors' });
  assert.match(wrong.output, /^::error::fail-on is errors/m);
});

test('a release is downloaded, and believed by its attestation', async () => {
  const { inputs, env } = await release();
  const { code, output } = await step('main', inputs, env);
  assert.equal(code, 0, output);
  const [, ...words] = readFileSync(join(folder, 'gh'), 'utf8').trim().split(' ');
  assert.match(readFileSync(join(folder, 'gh'), 'utf8'), /^github-token attestation verify \S+\.tar\.gz /);
  assert.ok(words.includes('gatelet/gatelet') && words.includes(`refs/tags/v${VERSION}`), words.join(' '));
  assert.ok(words.includes('gatelet/gatelet/.github/workflows/release.yml'));
  assert.equal((await step('post')).code, 0);
});

test('or by the checksum of the workflow, without an attestation', async () => {
  const { inputs, env, sha256 } = await release({ code: 1 });
  const { code, output } = await step('main', { ...inputs, sha256: sha256.toUpperCase() }, env);
  assert.equal(code, 0, output);
  assert.ok(!existsSync(join(folder, 'gh')));
  assert.equal((await step('post')).code, 0);
});

test('a download that nothing vouches for is not started', async () => {
  const { inputs, env } = await release({ code: 1 });
  const without = await step('main', inputs, env);
  assert.match(without.output, /^::error::The attestation of the release cannot be verified; set sha256/m);
  const other = await step('main', { ...inputs, sha256: 'a'.repeat(64) }, env);
  assert.match(other.output, /^::error::The SHA-256 of gatelet-.* and should be a{64}\.$/m);
  for (const version of ['latest', 'v0.1.0', '../0.1.0']) {
    assert.match((await step('main', { ...inputs, version }, env)).output, /^::error::The version is /m);
  }
  assert.match((await step('main', { ...inputs, version: '9.9.9' }, env)).output, /^::error::.* cannot be downloaded: 404/m);
  assert.deepEqual(read('GITHUB_STATE'), {});
});

test('a checksum of the release that differs, or is missing, refuses it', async () => {
  const name = `gatelet-${VERSION}-${process.platform}-${process.arch}.tar.gz`;
  const { inputs, env } = await release({ sums: `${'b'.repeat(64)}  ${name}\n` });
  assert.match((await step('main', inputs, env)).output, /^::error::The SHA-256 of .* should be b{64}\.$/m);
  assert.ok(!existsSync(join(folder, 'gh')));
});

test('the journal of a job that failed becomes an artifact', async () => {
  await step('main', { binary: PROGRAM });
  const { 'base-url': url, 'api-key': key } = read('GITHUB_OUTPUT');
  await fetch(`${url}/v1/agents/`, { headers: { authorization: `Bearer ${key}` } });
  const calls = [];
  const results = await serve((request, body) => {
    calls.push({ method: request.method, url: request.url, authorization: request.headers.authorization, body });
    if (request.url.endsWith('/CreateArtifact')) return [200, JSON.stringify({ ok: true, signed_upload_url: `${results}/blob` })];
    return [200, JSON.stringify({ ok: true, artifact_id: '1' })];
  });
  const claims = Buffer.from(JSON.stringify({ scp: 'Actions.GenericRead:x Actions.Results:run-1:job-2' })).toString('base64url');
  const env = { ACTIONS_RUNTIME_TOKEN: `x.${claims}.x`, ACTIONS_RESULTS_URL: `${results}/`, GITHUB_JOB: 'test' };
  const { code, output } = await step('post', { 'job-status': 'failure' }, env);
  assert.equal(code, 0, output);
  const [create, put, finalize] = calls;
  assert.equal(calls.length, 3, output);
  assert.equal(create.authorization, `Bearer ${env.ACTIONS_RUNTIME_TOKEN}`);
  const created = JSON.parse(create.body);
  assert.deepEqual([created.workflow_run_backend_id, created.workflow_job_run_backend_id, created.version], ['run-1', 'job-2', 4]);
  assert.equal(JSON.parse(finalize.body).hash, `sha256:${createHash('sha256').update(put.body).digest('hex')}`);
  assert.equal(put.authorization, undefined);
  // As any program for ZIP archives reads it.
  const archive = join(folder, 'journal.zip');
  writeFileSync(archive, put.body);
  const script = 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(z.read("default.json").decode())';
  const unzip = spawnSync('python3', ['-c', script, archive], { encoding: 'utf8' });
  const [entry] = JSON.parse(unzip.stdout || assert.fail(unzip.stderr));
  assert.equal(entry.operation, 'ListAgents');
  assert.ok(!unzip.stdout.includes(key));
});

test('a runner without artifacts is a warning', async () => {
  await step('main', { binary: PROGRAM });
  const { 'base-url': url, 'api-key': key } = read('GITHUB_OUTPUT');
  await fetch(`${url}/v1/agents/`, { headers: { authorization: `Bearer ${key}` } });
  const { code, output } = await step('post', { 'job-status': 'failure' });
  assert.equal(code, 0);
  assert.match(output, /^::warning::The journal cannot be uploaded: the runner offers no artifacts$/m);
});

test('verdicts become the summary, and fail the job if they are to', async () => {
  const finding = (rule, severity, allowed) => ({ rule, severity, sentence: 'It <did> that|', fix: 'Do this.', evidence: [1], allowed });
  const findings = [finding('double_send', 'warn', null), finding('approval_repeated', 'error', 'an old client')];
  const url = await serve(({ url }) => {
    if (url === '/_gatelet/v1') return [200, JSON.stringify({ features: ['verdicts'] })];
    if (url === '/_gatelet/v1/ns') return [200, JSON.stringify({ namespaces: [{ name: 'chat 1' }] })];
    if (url === '/_gatelet/v1/ns/chat%201/verdicts') return [200, JSON.stringify({ findings })];
  });
  for (const [failOn, expected] of [['never', 0], ['error', 0], ['warn', 1]]) {
    const { code, output } = await step('post', { 'fail-on': failOn }, { STATE_url: url, STATE_key: 'sk-let-x' });
    assert.equal(code, expected, `${failOn}: ${output}`);
  }
  const written = readFileSync(files.GITHUB_STEP_SUMMARY, 'utf8');
  assert.match(written, /^chat 1 \| warn \| double_send \| It &lt;did> that\\\| Do this\.$/m);
  assert.match(written, /^chat 1 \| error, allowed: an old client \| approval_repeated/m);
});

test('a server that has gone leaves the job as it is', async () => {
  const { code, output } = await step('post', {}, { STATE_url: 'http://127.0.0.1:9', STATE_key: 'sk-let-x' });
  assert.equal(code, 0);
  assert.match(output, /^::warning::Gatelet cannot be asked/m);
});
