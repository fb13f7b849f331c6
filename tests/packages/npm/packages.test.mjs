// The packages as users get them: packed, installed without network, and used as the README says.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startGatelet } from '../../../packages/npm/index.mjs';
import { archives, BINARY, HOST, installed, PACKAGE, packed, run } from './install.mjs';
import { blockCount, commands, files } from './readme.mjs';
import { runnerTests } from './runners.mjs';

const RUNNERS = ['@letta-ai/letta-client', '@playwright/test', '@types/node', 'jest', 'testcontainers', 'typescript', 'vitest'];
const manifest = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
const root = (name) => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8');

let dist, folder, features;

before(async () => {
  dist = packed();
  folder = installed(dist, RUNNERS);
  // The README's port may be taken on this machine.
  const port = await freePort();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text.replace(/\b3000\b/g, port));
});
before(async () => {
  const server = await startGatelet({ binary: BINARY });
  ({ features } = server);
  await server.stop();
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
  if (!process.env.DIST) rmSync(dist, { recursive: true, force: true });
});

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('all packages have the version of the program', () => {
  const [, version] = /^version = "(.+)"$/m.exec(root('Cargo.toml'));
  const versions = [manifest.version, ...Object.values(manifest.optionalDependencies)];
  assert.deepEqual(versions, versions.map(() => version));
  assert.equal(run(folder, 'npx gatelet --version').stdout.trim(), `gatelet ${version}`);
});

test('nothing runs at installation, and nothing else is installed', () => {
  assert.equal(manifest.scripts, undefined);
  assert.equal(manifest.dependencies, undefined);
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'));
  const names = Object.keys(lock.packages).filter(Boolean);
  assert.deepEqual(names.sort(), [`node_modules/@gatelet/${HOST}`, 'node_modules/gatelet']);
  for (const peer of Object.keys(manifest.peerDependencies)) assert.equal(manifest.peerDependenciesMeta[peer].optional, true);
});

test('the package has all files that it names', () => {
  const paths = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(paths));
  const named = [...paths(manifest.exports), manifest.main, manifest.types, ...Object.values(manifest.bin)];
  for (const name of named) assert.ok(existsSync(join(folder, 'node_modules/gatelet', name)), name);
  for (const name of ['LICENSE', 'README.md']) assert.ok(existsSync(join(folder, 'node_modules/gatelet', name)), name);
  assert.ok(!existsSync(join(folder, 'node_modules/gatelet/pack.mjs')));
});

test('import and require give the same', () => {
  const entries = ['gatelet', 'gatelet/browser', 'gatelet/playwright', 'gatelet/testcontainers'];
  writeFileSync(
    join(folder, 'both.mjs'),
    `import { createRequire } from 'node:module';
     const require = createRequire(import.meta.url);
     for (const entry of ${JSON.stringify(entries)}) {
       const [imported, required] = [await import(entry), require(entry)];
       console.log(entry, Object.keys(imported).filter((name) => name in required && !['default', 'module.exports'].includes(name)).length, Object.keys(required).length);
     }`,
  );
  const { status, stdout, output } = run(folder, 'node both.mjs');
  assert.equal(status, 0, output);
  for (const line of stdout.trim().split('\n')) {
    const [entry, imported, required] = line.split(' ');
    assert.ok(Number(required) > 0 && imported === required, line + entry);
  }
});

test('every block of the README is run, apart from two', () => {
  // The installation, and what needs Docker.
  assert.equal(blockCount, Object.keys(files).length + commands.length + 2);
  assert.ok(commands.length >= 4);
});

for (const command of commands) {
  test(`README: ${command}`, (t) => {
    if (command.includes('weather') && !features.includes('replies')) return t.skip('the program has no replies at run time');
    const { status, output } = run(folder, command);
    assert.equal(status, 0, output);
    assert.match(output, /\bpass(ed)? +[1-9]|\b[1-9]\d* passed/, output);
  });
}

runnerTests(
  () => folder,
  (feature) => features.includes(feature),
);

test('without the package of the platform, the program says what to do', () => {
  const installedPackage = join(folder, 'node_modules/@gatelet', HOST);
  const aside = `${installedPackage}-aside`;
  renameSync(installedPackage, aside);
  try {
    const refusal = run(folder, 'npx gatelet --version');
    assert.equal(refusal.status, 1);
    assert.match(refusal.stderr, new RegExp(`@gatelet/${HOST}.*npm/cli/issues/4828.*GATELET_BINARY`));
    assert.doesNotMatch(refusal.stderr, /\bat .*:\d+/, 'no stack trace');
    const script = `require('gatelet').startGatelet().catch((error) => console.log(error.message))`;
    assert.match(run(folder, `node -e "${script}"`).stdout, /npm\/cli\/issues\/4828/);
    assert.match(run(folder, 'npx gatelet --version', { GATELET_BINARY: BINARY }).stdout, /^gatelet \d/);
    assert.match(run(folder, 'npx gatelet --version', { GATELET_BINARY: '/nowhere' }).stderr, /GATELET_BINARY names \/nowhere/);
  } finally {
    renameSync(aside, installedPackage);
  }
});

test('the program keeps its exit code, its input and its signals behind npx', () => {
  assert.equal(run(folder, 'npx gatelet run -- sh -c "exit 7"').status, 7);
  assert.match(run(folder, 'npx gatelet no-such-command').stderr, /no-such-command/);
  const { stdout, output } = run(
    folder,
    `node node_modules/gatelet/bin/gatelet.cjs serve --ephemeral --listen 127.0.0.1:0 --log-format json > line & server=$!
     until [ -s line ]; do sleep 0.05; done
     kill -TERM $server; wait $server; echo "code $?"`,
  );
  assert.match(stdout, /code 0/, output);
});

test('the archives are fit to be published', () => {
  const cache = mkdtempSync(join(tmpdir(), 'npm-cache-'));
  for (const archive of archives(dist)) {
    const { status, output } = run(folder, `npm publish --dry-run --offline --access public --cache ${cache} ${archive}`);
    assert.equal(status, 0, output);
    assert.doesNotMatch(output, /npm warn publish .*(auto-corrected|errors corrected)/i, output);
  }
  rmSync(cache, { recursive: true, force: true });
});
