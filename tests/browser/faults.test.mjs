// What Chromium reports about each fault, to a page that reads with fetch alone and to one with the official SDK: the
// table in docs/faults.md.

import { after, before } from 'node:test';

import { cases, checkColumn, startStage, summary } from '../support/fault-table.mjs';
import { startGatelet } from '../support/gatelet.mjs';
import { browserTest, startSite } from './browser.mjs';

let gatelet, site, stage;

before(async () => {
  [gatelet, site] = await Promise.all([startGatelet(), startSite()]);
  stage = await startStage(gatelet, site.origin);
});
after(() => Promise.all([gatelet, site].map((each) => each?.stop())));

/** A page that reads the body by itself: run in the page. */
async function byFetch({ url, token, agentId, plain }) {
  const types = [];
  try {
    const response = await fetch(`${url}/v1/agents/${agentId}/messages${plain ? '' : '/stream'}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }] }),
    });
    let text = '';
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let error;
    for (;;) {
      const { value, done } = await reader.read().catch((thrown) => ((error = thrown), { done: true }));
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    const status = response.ok ? [] : [`status ${response.status}`];
    const whole = text.replaceAll('\r\n', '\n').replaceAll('\r', '\n');
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    const frames = whole.split('\n\n').slice(0, -1).filter((frame) => frame.includes('data: ')).length;
    const rest = isStream && !whole.endsWith('\n\n') && whole ? ['and a part of one'] : [];
    const inOnePiece = error ? [] : [...status, 'a body'];
    const parts = isStream ? [`${frames} frame${frames === 1 ? '' : 's'}`, ...rest] : inOnePiece;
    return { types: parts, error: error && `${error.name}: ${error.message}` };
  } catch (error) {
    return { types, error: `${error.name}: ${error.message}` };
  }
}

/** A page with the SDK: run in the page. */
async function bySdk({ url, token, agentId, plain }) {
  const { Letta } = await import('/sdk/index.mjs');
  const client = new Letta({ baseURL: url, apiKey: token, maxRetries: 0 });
  const messages = [{ role: 'user', content: 'Hello' }];
  const types = [];
  try {
    if (plain) return { types: [(await client.agents.messages.create(agentId, { messages })).stop_reason.stop_reason] };
    for await (const event of await client.agents.messages.stream(agentId, { messages })) {
      types.push(typeof event.message_type === 'string' ? event.message_type : '?');
    }
    return { types };
  } catch (error) {
    const words = [error.constructor.name, error.status, error.error?.code, error.cause?.message];
    return { types, error: words.filter(Boolean).join(' ') };
  }
}

for (const [client, ask] of [['Chromium, `fetch`', byFetch], ['Chromium, SDK 1.x', bySdk]]) {
  browserTest(`${client} reports each fault as the table says`, async (open) => {
    if (!stage) return;
    const page = await open(site.origin);
    const reports = {};
    for (const { name, do: effect, plain } of cases) {
      const ns = await stage.with({ do: effect });
      const { token, agentId } = ns;
      reports[name] = summary(await page.evaluate(ask, { url: gatelet.url, token, agentId, plain }));
      await stage.end(ns);
    }
    checkColumn(client, reports);
  });
}
