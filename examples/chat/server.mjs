// The back end of the chat. It holds the one API key, knows who is logged in, and hands each user a client token for
// their own agent. Messages never pass through here: the page talks to Letta itself, with that token.

import { createServer } from 'node:http';

import { Letta } from '@letta-ai/letta-client';

import { clearedCookie, cookieFor, passwordMatches, userOf } from './sessions.mjs';
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

/** Everything the back end does, by method and path. */
const routes = {
  'POST /login': async (request, response) => {
    const { user, password } = await bodyOf(request);
    if (!passwordMatches(user, password)) return answer(response, 401, { message: 'Wrong name or password.' });
    response.setHeader('set-cookie', cookieFor(user, publicOrigin));
    answer(response, 200, { user });
  },

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
    answer(response, 200, { user, agentId, token, lifetimeSeconds: TOKEN_LIFETIME_SECONDS, baseURL: LETTA_BASE_URL });
  }),
};

const server = createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, publicOrigin);
    response.setHeader('x-content-type-options', 'nosniff');
    if (request.method === 'POST' && request.headers.origin !== publicOrigin) {
      // Only our own page may log in, log out or fetch tokens (the cookie is SameSite=Strict on top of that).
      return answer(response, 403, { message: `Open this page at ${publicOrigin}.` });
    }
    const route = routes[`${request.method} ${pathname}`];
    if (route) return await route(request, response);
    if (request.method !== 'GET') return answer(response, 405, { message: 'There is nothing to do that with.' });
    if (pathname.startsWith('/sdk/')) return await sdk(pathname.slice('/sdk'.length), response);
    // Should a reply ever smuggle in markup, it finds no script that may run and nobody to talk to but us and Letta.
    response.setHeader(
      'content-security-policy',
      `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${new URL(LETTA_BASE_URL).origin}; ` +
        `form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
    );
    await pages(pathname, response);
  } catch (error) {
    console.error(error);
    if (response.headersSent) response.destroy();
    else answer(response, 500, { message: 'The chat server failed; its log says why.' });
  }
});

server.listen(PORT, process.env.HOST ?? '127.0.0.1', () => {
  publicOrigin ??= `http://localhost:${server.address().port}`;
  console.log(`Chat on ${publicOrigin}`);
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(0));
}

/** Wraps a handler that only a logged-in user may reach. */
function forUser(handler) {
  return (request, response) => {
    const user = userOf(request.headers.cookie);
    if (!user) return answer(response, 401, { message: 'Log in first.' });
    return handler(user, request, response);
  };
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

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > 10_000) return {};
  }
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
