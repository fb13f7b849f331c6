// The control API, as the page calls it. The key lives in sessionStorage: it ends with the tab.

const KEY = 'gatelet.key';
const ROOT = '/_gatelet/v1';

/** A refusal of the control API, or a server that cannot be reached. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {string} [at] */
  constructor(status, code, message, at) {
    super(message);
    this.status = status;
    this.code = code;
    this.at = at;
  }
}

/** The key, taken from `#key=...` once; the address no longer shows it afterwards. */
export function storedKey() {
  const given = /^#key=(.+)$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(KEY, decodeURIComponent(given[1]));
    history.replaceState(null, '', location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY);
}

/** @param {string} key */
export function storeKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/**
 * Sends a call and returns the response, whatever its status.
 * @param {string} method @param {string} path @param {unknown} [body] @param {AbortSignal} [signal]
 */
export async function send(method, path, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  try {
    return await fetch(ROOT + path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'unreachable', 'The server does not respond. Is it still running?');
  }
}

/**
 * Sends a call and reads what it responds with.
 * @param {string} method @param {string} path @param {unknown} [body] @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, signal) {
  const response = await send(method, path, body, signal);
  if (response.ok) return response.status === 204 ? null : response.json();
  throw await refusal(response);
}

/** @param {Response} response */
export async function refusal(response) {
  const text = await response.text();
  try {
    const { code, message, detail, at } = JSON.parse(text);
    return new ApiError(response.status, code ?? `${response.status}`, message ?? said(detail) ?? text, at);
  } catch {
    return new ApiError(response.status, `${response.status}`, text || response.statusText);
  }
}

/** @param {unknown} detail */
function said(detail) {
  return detail === undefined ? undefined : typeof detail === 'string' ? detail : JSON.stringify(detail);
}

/** @param {string} ns */
export const of = (ns) => `/ns/${encodeURIComponent(ns)}`;

/**
 * Sends a request through the whole server, as a page with this token and origin would; without a token, with the key.
 * @param {string} ns
 * @param {{ method: string, path: string, token?: string, origin?: string, body?: unknown, record?: boolean }} request
 * @param {AbortSignal} [signal]
 */
export async function attempt(ns, request, signal) {
  const response = await send('POST', `${of(ns)}/try`, request, signal);
  if (!response.headers.has('x-gatelet-tried')) throw await refusal(response);
  return response;
}

/**
 * Reads from Letta's API with the key, without an entry in the journal.
 * @param {string} ns @param {string} path @param {string} [method] @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function letta(ns, path, method = 'GET', body) {
  const response = await attempt(ns, { method, path, body, record: false });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

/**
 * The events of a stream, as they arrive: their name and data.
 * @param {Response} response
 * @returns {AsyncGenerator<{ event: string, data: string }>}
 */
export async function* events(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/);
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        let [event, data] = ['message', ''];
        for (const line of block.split(/\r\n|\n|\r/)) {
          if (line.startsWith('event:')) event = line.slice(6).trim();
          else if (line.startsWith('data:')) data += (data && '\n') + line.slice(5).replace(/^ /, '');
        }
        if (data) yield { event, data };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
