// A server with an agent, and client tokens for it.

import { startGatelet } from '../../support/gatelet.mjs';

export const PAGE = 'https://app.example';

/** Starts Gatelet and creates an agent there. */
export async function startWithAgent() {
  const gatelet = await startGatelet();
  return { ...gatelet, agentId: await createAgent(gatelet) };
}

/** Creates an agent, and returns its id. */
export async function createAgent(gatelet) {
  return (await post(gatelet, '/v1/agents/', { name: 'Ada', model: 'openai/gpt-4o-mini' })).id;
}

/** A client token that may write messages to an agent, for a page on `PAGE`. */
export async function issueToken(gatelet, agentId) {
  const policy = [{ type: 'agent', id: agentId, access: ['write_messages'] }];
  return (await post(gatelet, '/v1/client-side-access-tokens', { policy, hostname: PAGE })).token;
}

async function post({ url, apiKey }, path, body) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
