// The table in docs/faults.md of what clients report: each client's test owns a column, and compares it or writes it.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

const PAGE = new URL('../../docs/faults.md', import.meta.url);
const [START, END] = ['<!-- clients -->\n', '<!-- /clients -->'];

export const cases = JSON.parse(readFileSync(new URL('faults.json', import.meta.url), 'utf8'));

/** A namespace with an agent and a token, as a fault meets them. Gives `null` on a server without a control API. */
export async function startStage({ url, apiKey }, hostname) {
  const control = async (method, path, body) => {
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
    const response = await fetch(`${url}/_gatelet/v1${path}`, { method, headers, body: JSON.stringify(body) });
    const text = await response.text();
    if (response.status === 404) return null;
    assert.ok(response.ok, text);
    return text && JSON.parse(text);
  };
  if (!(await control('GET', ''))) return null;
  let number = 0;
  return {
    /** A fresh namespace in which only this fault is. */
    async with(fault) {
      const name = `clients-${(number += 1)}`;
      const agent = [{ ref: 'helper', name: 'helper', model: 'openai/gpt-4o-mini' }];
      const token = [{ ref: 'page', agent: 'helper', access: ['read_messages', 'write_messages'], hostname }];
      const body = { name, seed: { agent, token }, faults: [fault] };
      const created = await control('POST', '/ns', body);
      return { name, agentId: created.refs.helper, token: created.tokens.page.token };
    },
    end: ({ name }) => control('DELETE', `/ns/${name}`),
  };
}

/** What a client reports, in a few words that are the same in every run. */
export function summary({ types, error }) {
  const words = types.length || !error ? [shortened(types).join(', ') || 'nothing'] : [];
  if (error) words.push(`**${error}**`);
  return words.join('; ');
}

/** Repeated types once, with their number. */
function shortened(types) {
  const runs = [];
  for (const type of types) {
    const name = type.replace('_message', '').replace('_statistics', '');
    if (runs.at(-1)?.name === name) runs.at(-1).count += 1;
    else runs.push({ name, count: 1 });
  }
  return runs.map(({ name, count }) => (count > 1 ? `${count} × ${name}` : name));
}

/** Compares a client's column with what it reports: `{name: text}`. With GATELET_WRITE_DOCS set, writes it. */
export function checkColumn(client, reports) {
  const page = readFileSync(PAGE, 'utf8');
  const [before, rest] = page.split(START);
  const [table, after] = rest.split(END);
  const rows = table.trim().split('\n').filter(Boolean).map((line) => line.slice(2, -2).split(' | '));
  const header = rows[0] ?? ['fault'];
  const column = header.includes(client) ? header.indexOf(client) : header.push(client) - 1;
  const old = new Map(rows.slice(2).map((cells) => [cells[0], cells]));
  const found = cases.map(({ name }) => old.get(name)?.[column] ?? '');
  const expected = cases.map(({ name }) => reports[name].replaceAll('|', '\\|'));
  if (!process.env.GATELET_WRITE_DOCS) {
    const byName = (texts) => Object.fromEntries(cases.map(({ name }, index) => [name, texts[index]]));
    const advice = 'docs/faults.md says otherwise; run the test with GATELET_WRITE_DOCS=1, and read what has changed';
    assert.deepEqual(byName(expected), byName(found), advice);
    return;
  }
  const written = cases.map(({ name }, index) => {
    const cells = header.map((_, at) => old.get(name)?.[at] ?? '');
    [cells[0], cells[column]] = [name, expected[index]];
    return cells;
  });
  const lines = [header, header.map(() => '---'), ...written].map((cells) => `| ${cells.join(' | ')} |\n`);
  writeFileSync(PAGE, `${before}${START}${lines.join('')}${END}${after}`);
}
