// The files and commands in the README of the package: `<!-- file: NAME -->` or `<!-- run -->` before a block of code.

import { readFileSync } from 'node:fs';

const README = readFileSync(new URL('../../../packages/npm/README.md', import.meta.url), 'utf8');

const blocks = [...README.matchAll(/^<!-- (file: ([\w.-]+)|run) -->\n```\w+\n(.*?)^```$/gms)];

/** Contents by name. */
export const files = Object.fromEntries(blocks.filter(([, , name]) => name).map(([, , name, text]) => [name, text]));
export const commands = blocks.filter(([, use]) => use === 'run').map(([, , , text]) => text.trim());
/** How many blocks the README has, marked or not. */
export const blockCount = README.match(/^```\w+$/gm).length;
