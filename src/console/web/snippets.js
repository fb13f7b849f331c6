// The code that a back end and a page need for a policy.

/** @typedef {import('../types.d.ts').PolicyEntry} PolicyEntry */

/** @param {PolicyEntry[]} policy @param {string} origin @param {string} url */
export function typescript(policy, origin, url) {
  return `import Letta from "@letta-ai/letta-client";

const letta = new Letta({ baseURL: ${json(url)}, apiKey: process.env.LETTA_API_KEY });

// Call this for a user who is signed in, and send the token to the page.
export async function pageToken() {
  const { token } = await letta.accessTokens.create({
    hostname: ${json(origin)},
    policy: ${indent(policy, 4)},
    expires_at: new Date(Date.now() + 5 * 60_000).toISOString(),
  });
  return token;
}
`;
}

/** @param {PolicyEntry[]} policy @param {string} origin @param {string} url */
export function python(policy, origin, url) {
  return `import os
from datetime import datetime, timedelta, timezone

from letta_client import Letta

letta = Letta(base_url=${json(url)}, api_key=os.environ["LETTA_API_KEY"])


def page_token() -> str:
    """Call this for a user who is signed in, and send the token to the page."""
    created = letta.access_tokens.create(
        hostname=${json(origin)},
        policy=${indent(policy, 8)},
        expires_at=(datetime.now(timezone.utc) + timedelta(minutes=5)).isoformat(),
    )
    return created.token
`;
}

/** @param {PolicyEntry[]} policy @param {string} url */
export function page(policy, url) {
  const agent = policy[0]?.id ?? 'agent-...';
  const writes = policy[0]?.access.includes('write_messages');
  const use = writes
    ? `const stream = await letta.agents.messages.create(${json(agent)}, { input: "Hello", streaming: true });
for await (const event of stream) {
  if (event.message_type === "assistant_message") show(event.content);
}`
    : `const messages = await letta.agents.messages.list(${json(agent)});
for (const message of messages.items) show(message);`;
  return `import Letta from "@letta-ai/letta-client";

const { token } = await (await fetch("/token", { method: "POST" })).json();
const letta = new Letta({ baseURL: ${json(url)}, apiKey: token });

${use}
`;
}

/** @param {unknown} value */
const json = (value) => JSON.stringify(value);

/** @param {unknown} value @param {number} by */
const indent = (value, by) => JSON.stringify(value, null, 2).replaceAll('\n', `\n${' '.repeat(by)}`);
