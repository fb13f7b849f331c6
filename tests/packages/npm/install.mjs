// The packages as a user gets them: packed, and installed without network into an empty folder.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
export const BINARY = process.env.GATELET_BINARY ?? path('../../../target/debug/gatelet');
export const PACKAGE = path('../../../packages/npm/');
export const { version: VERSION } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
export const HOST = `${process.platform}-${process.arch}`;

/** The folder of the archives: DIST if they are packed already, as by scripts/package. */
export function packed() {
  if (process.env.DIST) return process.env.DIST;
  const folder = mkdtempSync(join(tmpdir(), 'gatelet-dist-'));
  execFileSync(process.execPath, [join(PACKAGE, 'pack.mjs'), BINARY, folder], { stdio: ['ignore', 'ignore', 'inherit'] });
  return folder;
}

/** The archives of the package and of the one for this platform. */
export const archives = (dist) => [`gatelet-${VERSION}.tgz`, `gatelet-${HOST}-${VERSION}.tgz`].map((name) => join(dist, name));

/** Installs the packages into an empty folder, and puts the test runners of this folder beside them. */
export function installed(dist, others) {
  const folder = mkdtempSync(join(tmpdir(), 'gatelet-npm-'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true }));
  // The second one takes the place of what the registry would have for the first; other platforms cannot be had offline.
  const install = ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...archives(dist)];
  const { status, stdout, stderr } = spawnSync('npm', install, { cwd: folder, env: environment(), encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  for (const name of others) link(folder, name);
  return folder;
}

/** Links a package and its programs, as installing them would. */
function link(folder, name) {
  const target = join(folder, 'node_modules', name);
  mkdirSync(dirname(target), { recursive: true });
  symlinkSync(path(`node_modules/${name}`), target);
  const { bin = {} } = JSON.parse(readFileSync(join(target, 'package.json'), 'utf8'));
  const programs = typeof bin === 'string' ? { [name.split('/').at(-1)]: bin } : bin;
  for (const [program, file] of Object.entries(programs)) symlinkSync(join(target, file), join(folder, 'node_modules/.bin', program));
}

/** The environment of a user: without the developer's settings, and without this test runner's. */
export function environment(more = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GATELET|LETTA|NODE_TEST|NODE_OPTIONS|npm_)/.test(name));
  return { CHROMIUM: '/usr/bin/chromium', ...Object.fromEntries(inherited), CI: '1', NO_COLOR: '1', ...more };
}

/** Runs a command to its end. */
export function run(folder, command, env) {
  const { status, stdout, stderr, error } = spawnSync('bash', ['-euc', command], { cwd: folder, env: environment(env), encoding: 'utf8' });
  return { status: error ?? status, stdout, stderr, output: `${stdout}\n${stderr}` };
}
