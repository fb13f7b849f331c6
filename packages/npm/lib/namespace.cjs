"use strict";
// A namespace: its credentials, and the calls of the control API that concern it.

const { call, query } = require("./call.cjs");
const { readSeed } = require("./seed.cjs");

class Namespace {
  #server;
  #snapshots = new Map();

  constructor(server, created) {
    this.#server = server;
    this.name = created.name;
    this.apiKey = created.api_key;
    this.baseURL = server.url;
    this.#take(created);
    this.journal = {
      list: (filter) => this.#call("GET", `/journal${query(filter)}`),
      get: (id) => this.#call("GET", `/journal/${id}`),
      frames: (id) => this.#call("GET", `/journal/${id}/frames`),
      clear: () => this.#call("DELETE", "/journal"),
      waitFor: (filter, options) => this.#waitFor(filter, options),
    };
  }

  get server() {
    return this.#server;
  }

  /** What a back end of this namespace needs in its environment. */
  get env() {
    return { LETTA_BASE_URL: this.baseURL, LETTA_API_KEY: this.apiKey };
  }

  /** Issues a client token as a back end does. The agent is a ref of the seed, or an id. */
  async token(agent, access, { origin, expiresIn } = {}) {
    const policy = [{ type: "agent", id: this.refs[agent] ?? agent, access }];
    const expires_at = expiresIn && new Date(Date.now() + expiresIn * 1000).toISOString();
    const target = { url: this.baseURL, apiKey: this.apiKey };
    return (await call(target, "POST", "/v1/client-side-access-tokens", { policy, hostname: origin, expires_at })).token;
  }

  expire(token) {
    return this.#call("POST", `/tokens/${encodeURIComponent(token.id ?? token)}/expire`);
  }

  revoke(token) {
    return this.#call("POST", `/tokens/${encodeURIComponent(token.id ?? token)}/revoke`);
  }

  /** Adds a seed: an object, the path of a file or folder, or a list of them. */
  async seed(seed) {
    for (const part of readSeed(seed)) {
      const { refs, tokens } = await this.#call("PUT", "/seed", part);
      Object.assign(this.refs, refs);
      Object.assign(this.tokens, tokens);
    }
  }

  /** Adds a reply: to a text (a part of it), to a pattern, or to what an object says. Returns its id. */
  async reply(match, reply, options) {
    this.#server.requireFeature("replies");
    const { ids } = await this.#call("POST", "/replies", replyFrom(match, reply, options));
    return ids[0];
  }

  async replies() {
    this.#server.requireFeature("replies");
    return (await this.#call("GET", "/replies")).replies;
  }

  /** Removes a reply, or all of them. */
  clearReplies(id) {
    this.#server.requireFeature("replies");
    return this.#call("DELETE", id === undefined ? "/replies" : `/replies/${encodeURIComponent(id)}`);
  }

  /** Puts the replies of a script in TOML in the place of all others. */
  script(toml) {
    this.#server.requireFeature("replies");
    return this.#call("PUT", "/script", { toml });
  }

  /** Adds a fault, several, or a preset. Returns the ids. */
  async fault(fault) {
    this.#server.requireFeature("faults");
    return (await this.#call("POST", "/faults", Array.isArray(fault) ? { faults: fault } : fault)).ids;
  }

  async faults() {
    this.#server.requireFeature("faults");
    return (await this.#call("GET", "/faults")).faults;
  }

  /** Removes a fault, or all of them. */
  clearFaults(id) {
    this.#server.requireFeature("faults");
    return this.#call("DELETE", id === undefined ? "/faults" : `/faults/${encodeURIComponent(id)}`);
  }

  clock() {
    return this.#call("GET", "/clock");
  }

  setClock(clock) {
    return this.#call("PUT", "/clock", clock);
  }

  /** Moves the clock by a duration ("5m") or `{ to }`, and then that of a Playwright page by as much. */
  async advance(step, { page } = {}) {
    const before = page && (await this.clock());
    const advanced = await this.#call("POST", "/clock/advance", typeof step === "string" ? { by: step } : step);
    if (page) await page.clock.fastForward(Date.parse(advanced.now) - Date.parse(before.now));
    return advanced;
  }

  /** Compares the journal with what is expected; the error has the report. */
  verify(expect, options) {
    return this.#call("POST", "/verify", Array.isArray(expect) ? { expect, ...options } : expect);
  }

  /** What would be decided about a request, and why. */
  explain(request) {
    return this.#call("POST", "/explain", request);
  }

  verdicts(min) {
    this.#server.requireFeature("verdicts");
    return this.#call("GET", `/verdicts${query({ min })}`);
  }

  /** Allows what a verdict is about, with a reason. */
  allow(rule, reason) {
    this.#server.requireFeature("verdicts");
    return this.#call("POST", "/verdicts/allow", { rule, reason });
  }

  /** Replies that were never used, faults that never fired, refs that were never touched. */
  unused() {
    this.#server.requireFeature("replies");
    return this.#call("GET", "/unused");
  }

  /** Puts a new world in the place of this one: as the seed left it, or an empty one. */
  async reset(options = {}) {
    const { dropped, ...state } = await this.#call("POST", "/reset", options);
    this.#take(state);
    return dropped;
  }

  async snapshot(name) {
    const taken = await this.#call("PUT", `/snapshots/${encodeURIComponent(name)}`);
    this.#snapshots.set(name, { ...this.tokens });
    return taken;
  }

  async restore(name) {
    const state = await this.#call("POST", `/snapshots/${encodeURIComponent(name)}/restore`);
    // A snapshot keeps the tokens themselves to itself; those that were known when it was taken are good again.
    this.#take({ ...state, tokens: this.#snapshots.get(name) ?? {} });
  }

  /** Copies the namespace, or one of its snapshots, into a new one, without tokens. */
  async fork({ name, snapshot, idleTtl: idle_ttl } = {}) {
    return new Namespace(this.#server, await this.#call("POST", "/fork", { name, snapshot, idle_ttl }));
  }

  delete() {
    return this.#call("DELETE", "");
  }

  async #waitFor(filter, { count = 1, within = "5s", after, phase } = {}) {
    const expect = [{ ...filter, times: { min: count } }];
    const { matched } = await this.verify({ expect, within, after, phase });
    return this.journal.get(matched[0][count - 1]);
  }

  #call(method, path, content) {
    return this.#server.call(method, `/ns/${encodeURIComponent(this.name)}${path}`, content);
  }

  #take({ refs, tokens }) {
    this.refs = { ...refs };
    this.tokens = { ...tokens };
  }
}
if (Symbol.asyncDispose) Namespace.prototype[Symbol.asyncDispose] = Namespace.prototype.delete;

/** The definition of a reply, from the short forms. */
function replyFrom(match, reply, options) {
  const criteria = typeof match === "string" ? { text: match } : match instanceof RegExp ? { user: match } : { ...match };
  if (criteria.user instanceof RegExp) criteria.user = pattern(criteria.user);
  if (reply === undefined) return { ...criteria, ...options };
  const steps = typeof reply === "string" ? [{ assistant: reply }] : [reply].flat();
  return { ...criteria, steps, ...options };
}

/** The definitions of a list of replies: each an object, or the arguments of `reply`. */
function repliesFrom(list) {
  return list.map((one) => (Array.isArray(one) ? replyFrom(...one) : replyFrom(one)));
}

/** A pattern as the server's regular expressions have it. */
function pattern({ source, flags }) {
  const kept = [...flags].filter((flag) => "ims".includes(flag)).join("");
  return kept ? `(?${kept})${source}` : source;
}

module.exports = { Namespace, repliesFrom };
