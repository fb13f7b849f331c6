// The HTTP of the back end: routes for our own page, its files, and short refusals for everybody else.

/** The largest body that a route takes, in bytes. */
const MOST_BODY_BYTES = 10_000;

/** What is wrong with a request, for the one who sent it. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Makes the handler of a server.
 * @param routes a Map from `POST /path` to a function of request and response.
 * @param folders static files by the prefix of their paths; `/` last.
 * @param origin a function that gives the origin of our page.
 * @param connectTo the origin that the page talks to besides ours.
 */
export function handler({ routes, folders, origin, connectTo }) {
  return async (request, response) => {
    try {
      const pathname = pathOf(request.url);
      response.setHeader('x-content-type-options', 'nosniff');
      if (request.method === 'POST' && request.headers.origin !== origin()) {
        // Only our own page may log in, log out or fetch tokens (the cookie is SameSite=Strict on top of that).
        return answer(response, 403, { message: `Open this page at ${origin()}.` });
      }
      const route = routes.get(`${request.method} ${pathname}`);
      if (route) return await route(request, response);
      if (request.method !== 'GET') throw new Refusal(405, 'There is nothing to do that with.');
      // Should a reply ever smuggle in markup, it finds no script that may run and nobody to talk to but us and Letta.
      response.setHeader(
        'content-security-policy',
        `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${connectTo}; ` +
          `form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      );
      const [prefix, files] = Object.entries(folders).find(([prefix]) => pathname.startsWith(prefix));
      await files(pathname.slice(prefix.length - 1), response);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      if (response.headersSent) response.destroy();
      else if (error instanceof Refusal) answer(response, error.status, { message: error.message });
      else answer(response, 500, { message: 'The chat server failed; its log says why.' });
    }
  };
}

/** The path of a request target, as it came: a URL parser would take `//host` for another host. */
function pathOf(target) {
  const [path] = target.split('?', 1);
  if (!/^\/(?!\/)[\x21-\x7e]*$/.test(path)) throw new Refusal(400, 'Ask for a path that begins with one slash.');
  return path;
}

/** The JSON object that a request brings. */
export async function bodyOf(request) {
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

export function answer(response, status, body) {
  // Whoever is refused may still be sending, without end.
  if (status >= 400) response.setHeader('connection', 'close');
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
