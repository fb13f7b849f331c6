// gatelet/testcontainers under the real Testcontainers, before a stand-in for a Docker engine: what it asks the engine for
// is shown, not what a real one makes of it.

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startEngine } from './engine.mjs';
import { PACKAGE } from './install.mjs';

const IMAGE = 'ghcr.io/gatelet/gatelet:0.1.0';

let engine, folder, GateletContainer;

before(async () => {
  engine = await startEngine();
  // Read when the module is loaded. Without Docker there is nothing to clean up after a crash.
  Object.assign(process.env, { DOCKER_HOST: engine.address, TESTCONTAINERS_RYUK_DISABLED: 'true' });
  // Where the package finds Testcontainers, as an installed one does.
  folder = mkdtempSync(join(tmpdir(), 'gatelet-testcontainers-'));
  mkdirSync(join(folder, 'node_modules'));
  cpSync(PACKAGE, join(folder, 'node_modules/gatelet'), { recursive: true });
  symlinkSync(fileURLToPath(new URL('node_modules/testcontainers', import.meta.url)), join(folder, 'node_modules/testcontainers'));
  ({ GateletContainer } = createRequire(join(folder, 'x.cjs'))('gatelet/testcontainers'));
});
after(async () => {
  await engine?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a container is a mock with a seed, whose key is known', async () => {
  const seed = join(folder, 'seed.toml');
  const script = join(folder, 'replies.toml');
  writeFileSync(seed, '[[agent]]\nref = "helper"\nname = "helper"\nmodel = "openai/gpt-4o-mini"\n');
  writeFileSync(script, '[[reply]]\nuser = "weather"\nsteps = [{ assistant = "Sunny." }]\n');
  const container = await new GateletContainer(IMAGE).withSeed(seed).withScript(script).start();
  const { Image, Env, ExposedPorts } = engine.created;
  assert.equal(Image, IMAGE);
  assert.deepEqual(ExposedPorts, { '8283/tcp': {} });
  const variables = Object.fromEntries(Env.map((pair) => pair.split('=')));
  assert.deepEqual(variables, {
    GATELET_LISTEN: '0.0.0.0:8283',
    GATELET_EPHEMERAL: 'true',
    GATELET_CONTROL: 'true',
    GATELET_BOOTSTRAP_API_KEY: container.getApiKey(),
    GATELET_SEED: '/gatelet/seed.toml',
    GATELET_SCRIPT: '/gatelet/replies.toml',
  });

  const server = await container.server();
  assert.equal(server.url, container.getBaseUrl());
  const { agents } = await list(server, container.getApiKey());
  assert.deepEqual(agents, ['helper']);
  const namespace = await container.namespace({ seed: { agent: [] } });
  assert.deepEqual((await list(server, namespace.apiKey)).agents, []);
  await container.stop();
  assert.ok(engine.removed);
});

test('each container has a key of its own', () => {
  const keys = [1, 2].map(() => new GateletContainer(IMAGE).environment.GATELET_BOOTSTRAP_API_KEY);
  assert.notEqual(keys[0], keys[1]);
  for (const key of keys) assert.match(key, /^sk-let-[\w-]{43}$/);
});

async function list({ url }, apiKey) {
  const response = await fetch(`${url}/v1/agents/`, { headers: { authorization: `Bearer ${apiKey}` } });
  assert.equal(response.status, 200);
  return { agents: (await response.json()).map(({ name }) => name) };
}
