// The back end of the chat. It holds the one API key, knows who is logged in, and hands each user a client token for
// their own agent. Messages never pass through here: the page talks to the App Server itself, through Gatelet.

import { createServer } from 'node:http';

import { createAppServerClient } from '@letta-ai/letta-code/app-server-client';

import { answer, handler } from '../chat/http.mjs';
import { clearedCookie, forUser, logIn } from '../chat/sessions.mjs';
import { staticFiles } from '../chat/static.mjs';

const { GATELET_URL = 'http://localhost:8283', GATELET_API_KEY, LETTA_MODEL } = process.env;
const PORT = Number(process.env.PORT ?? 3000);
const TOKEN_LIFETIME_SECONDS = Number(process.env.TOKEN_LIFETIME_SECONDS ?? 5 * 60);
// Where users find this page: its origin, exactly as their browsers will send it. Set it when a proxy stands in front.
let publicOrigin = process.env.PUBLIC_ORIGIN;

if (!GATELET_API_KEY) {
  console.error('Set GATELET_API_KEY to an API key of Gatelet (it prints one when it first starts).');
  process.exit(1);
}

/** Everything the back end does, by method and path. */
const routes = new Map(Object.entries({
  'POST /login': (request, response) => logIn(request, response, publicOrigin),

  'POST /logout': forUser(async (user, request, response) => {
    await deleteTokens((await chatOf(user)).agentId);
    response.setHeader('set-cookie', clearedCookie());
    answer(response, 200, {});
  }),

  // The user comes from the session, the agent from the user, the origin from the configuration: nothing that ends up in
  // the token is taken from the request.
  'POST /token': forUser(async (user, request, response) => {
    const { agentId, conversationId } = await chatOf(user);
    const { token } = await gatelet('POST', '', {
      policy: [{ type: 'agent', id: agentId, access: ['read_messages', 'write_messages'] }],
      hostname: publicOrigin,
      expires_at: new Date(Date.now() + TOKEN_LIFETIME_SECONDS * 1000).toISOString(),
    });
    const lifetimeSeconds = TOKEN_LIFETIME_SECONDS;
    answer(response, 200, { user, agentId, conversationId, token, lifetimeSeconds, url: GATELET_URL });
  }),
}));

// The official client needs no bundler: browsers read its one module as it is.
const client = staticFiles(new URL('.', import.meta.resolve('@letta-ai/letta-code/app-server-client')));
const shared = staticFiles(new URL('../chat/public/', import.meta.url));
const pages = staticFiles(new URL('public/', import.meta.url));
const folders = { '/client/': client, '/shared/': shared, '/': pages };
const connectTo = new URL(GATELET_URL).origin.replace(/^http/, 'ws');
const server = createServer(handler({ routes, folders, connectTo, origin: () => publicOrigin }));

server.listen(PORT, process.env.HOST ?? '127.0.0.1', () => {
  publicOrigin ??= `http://localhost:${server.address().port}`;
  console.log(`Chat on ${publicOrigin}`);
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(0));
}

/** Calls an operation on client tokens of Gatelet. */
async function gatelet(method, path, body) {
  const response = await fetch(`${GATELET_URL}/v1/client-side-access-tokens${path}`, {
    method,
    headers: { authorization: `Bearer ${GATELET_API_KEY}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? undefined : response.json();
}

/** The user's agent and conversation. Visits at the same time wait for the same search. */
const chats = new Map();
function chatOf(user) {
  if (!chats.has(user)) {
    const search = findOrCreateChat(user);
    chats.set(user, search);
    search.catch(() => chats.delete(user));
  }
  return chats.get(user);
}

/** With the API key, the App Server does whatever its protocol offers: a socket for as long as this takes. */
async function findOrCreateChat(user) {
  const operator = createAppServerClient({ url: GATELET_URL, authToken: GATELET_API_KEY });
  const request = async (type, fields) => {
    const response = await operator.request(type, fields);
    // The client raises no error of its own for this.
    if (!response.success) throw new Error(`${type}: ${response.error}`);
    return response;
  };
  try {
    await operator.connect();
    // The agent is found by its tag, and created on the first visit.
    const tag = `chat-user:${user}`;
    const { agents } = await request('agent_list', { query: { tags: [tag], limit: 100 } });
    const body = { name: `Chat with ${user}`, tags: [tag], model: LETTA_MODEL };
    const agent =
      agents.find((agent) => agent.tags.includes(tag)) ?? (await request('agent_create', { body })).agent;
    // Not the conversation `default`: an App Server takes those of all agents for one, and runs one turn in it at a time.
    const { conversations } = await request('conversation_list', { query: { agent_id: agent.id } });
    const conversation =
      conversations[0] ?? (await request('conversation_create', { body: { agent_id: agent.id } })).conversation;
    return { agentId: agent.id, conversationId: conversation.id };
  } finally {
    operator.close();
  }
}

/** Logging out ends every token of the user's agent; devices that are still logged in fetch new ones by themselves. */
async function deleteTokens(agentId) {
  const { tokens } = await gatelet('GET', `?agentId=${agentId}&limit=1000`);
  await Promise.all(tokens.map(({ token }) => gatelet('DELETE', `/${token}`)));
}
