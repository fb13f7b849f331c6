// What the official SDK in Node reports about each fault: the table in docs/faults.md.

import { after, before, test } from 'node:test';

import { cases, checkColumn, startStage, summary } from '../../support/fault-table.mjs';
import { startGatelet } from '../../support/gatelet.mjs';
import { LettaClient } from 'letta-client-0.1';
import { Letta } from 'letta-client-1';

const PAGE = 'https://app.example';
const messages = [{ role: 'user', content: 'Hello' }];

let gatelet, stage;
before(async () => {
  gatelet = await startGatelet();
  stage = await startStage(gatelet, PAGE);
});
after(() => gatelet?.stop());

/** The outermost error, and the code that lies under it, if it is the same each time. */
function described(error, isBrokenOff) {
  const status = error.status ?? error.statusCode;
  const code = error.error?.code ?? error.body?.code;
  let cause = error;
  while (cause.cause instanceof Error) cause = cause.cause;
  const under = cause === error || isBrokenOff ? undefined : (cause.code ?? cause.constructor.name);
  return [error.constructor.name, status, code, under].filter(Boolean).join(' ');
}

const generations = {
  'Node, SDK 1.x': async (ns, plain) => {
    const client = new Letta({ baseURL: gatelet.url, apiKey: ns.token, maxRetries: 0, defaultHeaders: { Origin: PAGE } });
    if (plain) return [(await client.agents.messages.create(ns.agentId, { messages })).stop_reason.stop_reason];
    return client.agents.messages.stream(ns.agentId, { messages });
  },
  'Node, SDK 0.1.x': async (ns, plain) => {
    const client = new LettaClient({ baseUrl: gatelet.url, token: ns.token });
    // It leaves its timer behind when a request fails.
    const options = { headers: { Origin: PAGE }, maxRetries: 0, timeoutInSeconds: 10 };
    if (plain) return [(await client.agents.messages.create(ns.agentId, { messages }, options)).stopReason.stopReason];
    return client.agents.messages.createStream(ns.agentId, { messages }, options);
  },
};

for (const [client, ask] of Object.entries(generations)) {
  test(`${client} reports each fault as the table says`, async () => {
    if (!stage) return;
    const reports = {};
    for (const { name, do: effect, plain, is_broken_off: isBrokenOff } of cases) {
      const ns = await stage.with({ do: effect });
      const types = [];
      let error;
      try {
        for await (const event of await ask(ns, plain)) {
          const type = event.message_type ?? event.messageType ?? event;
          types.push(typeof type === 'string' ? type : '?');
        }
      } catch (thrown) {
        error = described(thrown, isBrokenOff);
      }
      reports[name] = summary({ types, error });
      await stage.end(ns);
    }
    checkColumn(client, reports);
  });
}
