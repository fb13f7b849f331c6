// docs/testing.md, used as its readers use it: every file and every command of the page, in an empty folder.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const PAGE = readFileSync(path('../../docs/testing.md'), 'utf8');
const PROGRAM = process.env.GATELET_BINARY ?? path('../../target/debug/gatelet');
/** What is shown and needs no test, or needs an engine for containers. */
const ONLY_SHOWN = ['text', 'java', 'go'];

/** The page's code, with what the comment before it says: `file: NAME`, or `run`. */
const blocks = [...PAGE.matchAll(/(?:^<!-- ([^\n]+) -->\n)?^```(\w+)\n(.*?)^```$/gms)].map(([, use, language, text]) => ({
  use,
  language,
  text,
}));
const files = blocks.filter(({ use }) => use?.startsWith('file: ')).map((block) => ({ ...block, name: block.use.slice('file: '.length) }));
const commands = blocks.filter(({ use }) => use === 'run').map(({ text }) => text.trim());

let folder, env;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'testing-page-'));
  // The page's port may be taken on this machine.
  const port = await freePort();
  for (const { name, text } of files) writeFileSync(join(folder, name), text.replace(/\b3000\b/g, port));
  symlinkSync(path('node_modules'), join(folder, 'node_modules'));
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  symlinkSync(PROGRAM, join(programs, 'gatelet'));
  const python = process.env.PYTHON ? [dirname(process.env.PYTHON)] : [];
  // The developer's own settings do not reach the program.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GATELET|LETTA|NODE_TEST|NODE_OPTIONS)/.test(name));
  env = {
    CHROMIUM: '/usr/bin/chromium',
    ...Object.fromEntries(inherited),
    PATH: [programs, ...python, process.env.PATH].join(delimiter),
    PYTHONDONTWRITEBYTECODE: '1',
    CI: '1',
    NO_COLOR: '1',
  };
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('every block of code is a file or a command', () => {
  const unused = blocks.filter(({ use, language }) => !use && !ONLY_SHOWN.includes(language));
  assert.deepEqual(unused, []);
  assert.ok(commands.length >= 10 && files.length > commands.length, `${files.length} files, ${commands.length} commands`);
  const texts = [...commands, ...files.map(({ text }) => text)];
  for (const { name } of files) {
    const others = texts.filter((text) => !text.startsWith(`// ${name}`) && !text.startsWith(`# ${name}`));
    const isConfiguration = name === 'playwright.config.mjs';
    assert.ok(isConfiguration || others.some((text) => text.includes(name)), `nothing on the page uses ${name}`);
  }
});

test('the first tests have about ten lines', () => {
  for (const name of ['first.test.mjs', 'chat.test.mjs', 'test_first.py', 'first.spec.mjs']) {
    const { text } = files.find((file) => file.name === name);
    const lines = text.split('\n').filter((line) => line.trim() && !/^(\/\/|#)/.test(line));
    assert.ok(lines.length <= 11, `${name} has ${lines.length} lines`);
  }
});

for (const command of commands) {
  test(command, () => {
    const { status, stdout, stderr, error } = spawnSync('bash', ['-euc', command], { cwd: folder, env, encoding: 'utf8' });
    const output = `${stdout}\n${stderr}`;
    assert.equal(error ?? status, 0, output);
    // A runner that finds no tests may succeed as well.
    assert.match(output, /\bpass(ed)? +[1-9]|\b[1-9]\d* passed/, output);
    const summary = /^gatelet: (\d+|no) requests?[:;] /m.exec(stderr);
    assert.ok(summary, output);
    // An explanation needs no request; everything else counts, in whichever namespace it was.
    assert.equal(summary[1] === 'no', command.includes('explain'), output);
  });
}
