// The back end of the chat. It holds the one API key, knows who is logged in, and hands each user a client token for
// their own agent. Messages never pass through here: the page talks to Letta itself, with that token.

import { createServer } from 'node:http';

import { Letta } from '@letta-ai/letta-client';

import { answer, handler } from './http.mjs';
import { clearedCookie, forUser, logIn } from './sessions.mjs';
import { staticFiles } from './static.mjs';

const { LETTA_BASE_URL = 'http://localhost:8283', LETTA_API_KEY, LETTA_MODEL = 'openai/gpt-4o-mini' } = process.env;
const PORT = Number(process.env.PORT ?? 3000);
const TOKEN_LIFETIME_SECONDS = Number(process.env.TOKEN_LIFETIME_SECONDS ?? 24 * 60 * 60);
// Where users find this page: its origin, exactly as their browsers will send it. Set it when a proxy stands in front.
let publicOrigin = process.env.PUBLIC_ORIGIN;

if (!LETTA_API_KEY) {
  console.error('Set LETTA_API_KEY to an API key of the Letta server (Gatelet prints one when it first starts).');
  process.exit(1);
}
const letta = new Letta({ baseURL: LETTA_BASE_URL, apiKey: LETTA_API_KEY });

const pages = staticFiles(new URL('public/', import.meta.url));
// The SDK needs no bundler: browsers read its modules as they are. A real application would bundle and minify them.
const sdk = staticFiles(new URL('.', import.meta.resolve('@letta-ai/letta-client')));
// `gatelet/browser`, from this checkout: in your own application, import it from the package `gatelet`.
const gatelet = staticFiles(new URL('../../packages/npm/browser/', import.meta.url));

/** Everything the back end does, by method and path. */
const routes = new Map(Object.entries({
  'POST /login': (request, response) => logIn(request, response, publicOrigin),

  'POST /logout': forUser(async (user, request, response) => {
    await deleteTokens(await agentIdOf(user));
    response.setHeader('set-cookie', clearedCookie());
    answer(response, 200, {});
  }),

  // The heart of the matter. The user comes from the session, the agent from the user, the origin from the
  // configuration: nothing that ends up in the token is taken from the request.
  'POST /token': forUser(async (user, request, response) => {
    const agentId = await agentIdOf(user);
    const { token } = await letta.accessTokens.create({
      policy: [{ type: 'agent', id: agentId, access: ['read_messages', 'write_messages'] }],
      hostname: publicOrigin,
      expires_at: new Date(Date.now() + TOKEN_LIFETIME_SECONDS * 1000).toISOString(),
    });
    answer(response, 200, { user, agentId, token, expiresIn: TOKEN_LIFETIME_SECONDS, baseURL: LETTA_BASE_URL });
  }),
}));

const folders = { '/sdk/': sdk, '/gatelet/': gatelet, '/': pages };
const connectTo = new URL(LETTA_BASE_URL).origin;
const server = createServer(handler({ routes, folders, connectTo, origin: () => publicOrigin }));

server.listen(PORT, process.env.HOST ?? '127.0.0.1', () => {
  publicOrigin ??= `http://localhost:${server.address().port}`;
  console.log(`Chat on ${publicOrigin}`);
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(0));
}

/** The user's agent: found by its tag, made on the first visit. Two first visits at once wait for the same search. */
const searches = new Map();
function agentIdOf(user) {
  if (!searches.has(user)) {
    searches.set(user, findOrCreateAgent(user).finally(() => searches.delete(user)));
  }
  return searches.get(user);
}

async function findOrCreateAgent(user) {
  const tag = `chat-user:${user}`;
  const [found] = (await letta.agents.list({ tags: [tag], limit: 1 })).getPaginatedItems();
  if (found) return found.id;
  const blocks = [{ label: 'human', value: `The user is called ${user}.` }];
  return (await letta.agents.create({ name: `Chat with ${user}`, tags: [tag], model: LETTA_MODEL, memory_blocks: blocks }))
    .id;
}

/** Logging out ends every token of the user's agent; devices that are still logged in fetch new ones by themselves. */
async function deleteTokens(agentId) {
  const { tokens } = await letta.accessTokens.list({ agentId, limit: 1000 });
  await Promise.all(tokens.map(({ token }) => letta.accessTokens.delete(token)));
}
