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
// `gatelet/browser`, from this checkout: in your own application, import it from the package `gatelet`.
const gatelet = staticFiles(new URL('../../packages/npm/browser/', import.meta.url));

/** The largest body that a route takes, in bytes. */
const MOST_BODY_BYTES = 10_000;

/** What is wrong with a request, for the one who sent it. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Everything the back end does, by method and path. */
const routes = new Map(Object.entries({
  'POST /login': async (request, response) => {
    const { user, password } = await bodyOf(request);
    // JSON holds more than texts, and none of it may reach code that expects one.
    if (typeof user !== 'string' || typeof password !== 'string') {
      throw new Refusal(400, 'Send a user and a password, each as a text.');
    }
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
    answer(response, 200, { user, agentId, token, expiresIn: TOKEN_LIFETIME_SECONDS, baseURL: LETTA_BASE_URL });
  }),
}));

const server = createServer(async (request, response) => {
  try {
    const pathname = pathOf(request.url);
    response.setHeader('x-content-type-options', 'nosniff');
    if (request.method === 'POST' && request.headers.origin !== publicOrigin) {
      // Only our own page may log in, log out or fetch tokens (the cookie is SameSite=Strict on top of that).
      return answer(response, 403, { message: `Open this page at ${publicOrigin}.` });
    }
    const route = routes.get(`${request.method} ${pathname}`);
    if (route) return await route(request, response);
    if (request.method !== 'GET') throw new Refusal(405, 'There is nothing to do that with.');
    if (pathname.startsWith('/sdk/')) return await sdk(pathname.slice('/sdk'.length), response);
    if (pathname.startsWith('/gatelet/')) return await gatelet(pathname.slice('/gatelet'.length), response);
    // Should a reply ever smuggle in markup, it finds no script that may run and nobody to talk to but us and Letta.
    response.setHeader(
      'content-security-policy',
      `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${new URL(LETTA_BASE_URL).origin}; ` +
        `form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
    );
    await pages(pathname, response);
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    if (response.headersSent) response.destroy();
    else if (error instanceof Refusal) answer(response, error.status, { message: error.message });
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

/** The path of a request target, as it came: a URL parser would take `//host` for another host. */
function pathOf(target) {
  const [path] = target.split('?', 1);
  if (!/^\/(?!\/)[\x21-\x7e]*$/.test(path)) throw new Refusal(400, 'Ask for a path that begins with one slash.');
  return path;
}

/** The JSON object that a request brings. */
async function bodyOf(request) {
  let body;
  try {
    body = JSON.parse(await textOf(request));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(400, 'Send JSON.');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new Refusal(400, 'Send a JSON object.');
  return body;
}

/** Reads a body. Events instead of a loop: to leave the loop would end the connection before it was answered. */
function textOf(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let length = 0;
    request.on('data', (chunk) => {
      length += chunk.length;
      if (length <= MOST_BODY_BYTES) chunks.push(chunk);
      else reject(new Refusal(413, `Send at most ${MOST_BODY_BYTES} bytes.`));
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
    request.on('close', () => reject(new Refusal(400, 'The body broke off.')));
    request.on('error', () => reject(new Refusal(400, 'The body broke off.')));
  });
}

function answer(response, status, body) {
  // Whoever is refused may still be sending, without end.
  if (status >= 400) response.setHeader('connection', 'close');
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
