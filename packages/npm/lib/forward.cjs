"use strict";
// For a back end that several tests share: says in each request to Gatelet which test it is for.

/** The cookie by which a browser says which test it belongs to. */
const COOKIE = "gatelet-ns";

/**
 * A `fetch` for the SDK that adds the header X-Gatelet-Namespace. `source` returns the Cookie header of the request that
 * the back end handles, or the name itself. Without GATELET_URL in the environment it is `fetch` as it is.
 */
function forwardNamespace(source, fetch = globalThis.fetch) {
  if (!process.env.GATELET_URL) return fetch;
  return (input, init = {}) => {
    const name = nameIn(source());
    if (!name) return fetch(input, init);
    const headers = new Headers(init.headers ?? input.headers);
    headers.set("x-gatelet-namespace", name);
    return fetch(input, { ...init, headers });
  };
}

function nameIn(text) {
  const value = new RegExp(`(?:^|;\\s*)${COOKIE}=([^;]*)`).exec(text ?? "")?.[1] ?? text;
  return /^[a-z0-9][a-z0-9._-]*$/.test(value ?? "") ? value : undefined;
}

module.exports = { COOKIE, forwardNamespace };
