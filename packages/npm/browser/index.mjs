// A `fetch` with a fresh client token. Its options are described in index.d.mts.

const RENEWABLE = ["token_expired", "token_revoked"];
const LONGEST_TIMER = 2 ** 31 - 1;
// A tab that is frozen may hold the lock for ever.
const LONGEST_LOCK = 10_000;

export function tokenFetch({ fetchToken, token: first, baseURL, fetch = globalThis.fetch.bind(globalThis) }) {
  let current, renewal, timer;
  // After a 401 without a code that a new token did not mend, until a request is accepted.
  let isDoubtful = false;

  function take(given) {
    const { token = given, expiresIn, expiresAt = given.expires_at } = given;
    if (typeof token !== "string") throw new TypeError("fetchToken: expected a token or an object with one");
    const life = expiresIn === undefined ? new Date(expiresAt) - Date.now() : expiresIn * 1000;
    const taken = { token, renewAt: life > 0 ? Date.now() + life * 0.8 : Infinity, isUsed: false };
    clearTimeout(timer);
    if (life > 0) {
      // A page that sends nothing needs no token.
      timer = setTimeout(() => taken.isUsed && renew().catch(() => {}), Math.min(life * 0.8, LONGEST_TIMER));
      timer.unref?.();
    }
    return (current = taken);
  }

  async function fetchNext() {
    const given = await fetchToken();
    if (!(given instanceof Response)) return take(given);
    return given.ok ? take(await given.json()) : { refusal: given };
  }

  function renew() {
    return (renewal ??= exclusively(fetchNext).finally(() => (renewal = undefined)));
  }

  // A token in its last fifth still serves while a new one cannot be had.
  async function freshToken() {
    if (current && Date.now() < current.renewAt) return current;
    return renew().catch((error) => current ?? Promise.reject(error));
  }

  async function send(input, init, grant) {
    if (grant.refusal) return grant.refusal.clone();
    grant.isUsed = true;
    const headers = new Headers(init.headers ?? input.headers);
    headers.set("authorization", `Bearer ${grant.token}`);
    const response = await fetch(input, { ...init, headers });
    if (response.status !== 401) isDoubtful = false;
    return response;
  }

  if (first) take(first);
  return async (input, init = {}) => {
    const isRequest = input instanceof Request;
    if (baseURL && !isBelow(isRequest ? input.url : input, baseURL)) return fetch(input, init);
    const signal = init.signal ?? input.signal;
    const grant = await abortable(freshToken(), signal);
    const response = await send(isRequest ? input.clone() : input, init, grant);
    if (response.status !== 401 || grant.refusal) return response;

    const code = await codeOf(response);
    const isCurrent = grant === current;
    if (code ? !RENEWABLE.includes(code) : isCurrent && isDoubtful) return response;
    if (isCurrent) {
      current = undefined;
      isDoubtful = !code;
    }
    if (init.body instanceof ReadableStream || init.body?.[Symbol.asyncIterator]) return response;
    response.body?.cancel().catch(() => {});
    return send(input, init, await abortable(freshToken(), signal));
  };
}

/** Runs a task while no other tab of this origin does, if there are locks. */
async function exclusively(task) {
  let running;
  const run = () => (running ??= task());
  const { locks } = globalThis.navigator ?? {};
  if (!locks) return run();
  return locks.request("gatelet-token", { signal: AbortSignal.timeout(LONGEST_LOCK) }, run).catch(run);
}

function isBelow(url, base) {
  const [{ origin, pathname }, below] = [base, url].map((text) => new URL(text, globalThis.location?.href));
  return below.origin === origin && `${below.pathname}/`.startsWith(pathname.replace(/\/*$/, "/"));
}

async function codeOf(response) {
  const { code, error } = (await response.clone().json().catch(() => null)) ?? {};
  return code ?? error?.code;
}

function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
