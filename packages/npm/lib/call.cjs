"use strict";
// One call of the control API, or of Letta's API, and the error that a refusal becomes.

/** A refusal of Gatelet's, with its code and its sentence. */
class GateletError extends Error {
  constructor(what, status, body) {
    const { message, detail, code, at, request_id: requestId, text } = body;
    super(text ?? `${what}: ${message ?? detail ?? `HTTP ${status}`}${code ? ` [${code}]` : ""}`);
    Object.assign(this, { name: "GateletError", status, code, at, requestId, body });
  }
}

/** Sends a request with an API key; `content` is a value to send as JSON, or `{ toml }`. */
async function call(target, method, path, content, headers = {}) {
  const isToml = typeof content?.toml === "string";
  const body = isToml ? content.toml : content === undefined ? undefined : JSON.stringify(content);
  const type = body === undefined ? {} : { "content-type": isToml ? "application/toml" : "application/json" };
  const init = { method, body, headers: { authorization: `Bearer ${target.apiKey}`, ...type, ...headers } };
  const what = `${method} ${path}`;
  const response = await fetch(target.url + path, init).catch((error) => {
    throw new Error(`${what}: Gatelet at ${target.url} cannot be reached (${error.cause?.code ?? error.cause?.message ?? error.message}).`, { cause: error });
  });
  const text = await response.text();
  let parsed = {};
  try {
    parsed = text ? JSON.parse(text) : undefined;
  } catch {
    parsed = { message: text.slice(0, 500) };
  }
  if (!response.ok) throw new GateletError(what, response.status, parsed ?? {});
  return parsed;
}

/** A query from an object: what is undefined is left out. */
function query(fields = {}) {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return entries.length ? `?${new URLSearchParams(entries)}` : "";
}

module.exports = { GateletError, call, query };
