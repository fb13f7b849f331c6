// Measures by hand what the package promises: `GATELET_BINARY=... node measure.mjs`. Best of ten of each.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { BINARY, PACKAGE, environment, installed, packed } from './install.mjs';

const env = environment({ GATELET_BINARY: BINARY });
const best = (measure) => Math.min(...Array.from({ length: 10 }, measure));
const elapsed = (...command) => {
  const begun = performance.now();
  execFileSync(command[0], command.slice(1), { env, stdio: 'ignore' });
  return performance.now() - begun;
};
const printed = (text) => Number(execFileSync(process.execPath, ['-e', text], { encoding: 'utf8', env }));

const flags = ['serve', '--ephemeral', '--control', '--listen', '127.0.0.1:0', '--log-format', 'json', '--until-stdin-closes'];
const bare = `const { spawn } = require('node:child_process');
  const begun = performance.now();
  const child = spawn(${JSON.stringify(BINARY)}, ${JSON.stringify(flags)});
  child.stdout.once('data', () => { console.log(performance.now() - begun); child.stdin.end(); });`;
const whole = `const begun = performance.now();
  const { startGatelet } = require(${JSON.stringify(join(PACKAGE, 'index.cjs'))});
  startGatelet().then((server) => { console.log(performance.now() - begun); return server.stop(); });`;
const ms = (number) => `${number.toFixed(0)} ms`;

const program = best(() => elapsed(BINARY, '--version'));
const node = best(() => elapsed(process.execPath, '-e', '0'));
const shim = best(() => elapsed(process.execPath, join(PACKAGE, 'bin/gatelet.cjs'), '--version'));
console.log(`shim: ${ms(shim)}; node -e 0: ${ms(node)}; the program alone: ${ms(program)}; over both: ${ms(shim - node - program)}`);
const [start, own] = [best(() => printed(whole)), best(() => printed(bare))];
console.log(`startGatelet: ${ms(start)}; the program's own start: ${ms(own)}; over it: ${ms(start - own)}`);
const dist = packed();
const begun = performance.now();
const folder = installed(dist, []);
console.log(`npm install --offline: ${ms(performance.now() - begun)}`);
rmSync(folder, { recursive: true });
