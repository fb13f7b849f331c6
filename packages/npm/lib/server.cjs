"use strict";
// A server: one that is started here, or one that runs anyway.

const { spawn } = require("node:child_process");
const { createInterface } = require("node:readline");
const { binaryPath, cannotStart } = require("./binary.cjs");
const { call, GateletError } = require("./call.cjs");
const { Namespace, repliesFrom } = require("./namespace.cjs");
const { readSeed } = require("./seed.cjs");

const CONTROL = "/_gatelet/v1";
/** The version of the control API that this package speaks. */
const API = 1;
/** How long a server may take to start, and to stop. */
const MOST_MILLISECONDS = 15_000;
/** How much of a server's log is kept for the error that says why it ended. */
const MOST_LOG = 64 * 1024;

class GateletServer {
  #stop;

  constructor({ url, apiKey, seed, refs, tokens, info, stop }) {
    this.url = this.baseURL = url;
    this.apiKey = apiKey;
    this.seed = seed;
    this.version = info.version;
    this.features = info.features;
    this.limits = info.limits;
    this.#stop = stop;
    /** The namespace `default`, which the server's own key belongs to. */
    this.default = new Namespace(this, { name: "default", api_key: apiKey, refs, tokens });
  }

  /** What programs under test and tests of another process need in their environment. */
  get env() {
    return { LETTA_BASE_URL: this.url, LETTA_API_KEY: this.apiKey, GATELET_URL: this.url, GATELET_KEY: this.apiKey };
  }

  /** A call of the control API. */
  call(method, path, content) {
    return call(this, method, CONTROL + path, content);
  }

  /** Creates a namespace. Without a seed of its own it begins with the server's. */
  async namespace({ seed = this.seed, replies, faults, script, idleTtl, ifExists, apiKey, ...options } = {}) {
    if (replies || script) this.requireFeature("replies");
    if (faults) this.requireFeature("faults");
    const seeds = readSeed(seed);
    const isInline = seeds.length === 1 && seeds[0].toml === undefined && !script;
    const created = await this.call("POST", "/ns", {
      ...options,
      seed: isInline ? seeds[0] : undefined,
      replies: replies && repliesFrom(replies),
      faults,
      idle_ttl: idleTtl,
      if_exists: ifExists,
      api_key: apiKey,
    });
    const namespace = new Namespace(this, created);
    const isKept = ifExists === "keep" && Object.keys(created.refs).length > 0;
    try {
      if (script) await namespace.script(script);
      // A reset returns to what there is after the last seed, even an empty one.
      if (!isInline && !isKept) await namespace.seed(script && !seeds.length ? {} : seeds);
    } catch (error) {
      await namespace.delete().catch(() => {});
      throw error;
    }
    return namespace;
  }

  /** All namespaces, as the server describes them. */
  async namespaces() {
    return (await this.call("GET", "/ns")).namespaces;
  }

  /** Throws if the server is too old for something. */
  requireFeature(feature) {
    if (this.features.includes(feature)) return;
    throw new Error(`Gatelet ${this.version} at ${this.url} has no ${feature}: use a newer version of the server.`);
  }

  /** Stops the server if it was started here. */
  async stop() {
    await this.#stop?.();
  }
}
if (Symbol.asyncDispose) GateletServer.prototype[Symbol.asyncDispose] = GateletServer.prototype.stop;

/** Starts a server in memory on a free port. It ends with `stop()`, and with this process. */
async function startGatelet({ seed, script, args = [], env = {}, binary, log } = {}) {
  const path = binary ?? binaryPath();
  const flags = ["--ephemeral", "--control", "--listen", "127.0.0.1:0", "--log-format", "json", "--until-stdin-closes"];
  const isFile = typeof seed === "string";
  if (isFile) flags.push("--seed", seed);
  if (script) flags.push("--script", script);
  // Settings that a developer has for another server do not reach this one.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GATELET|LETTA)_/.test(name));
  const child = spawn(path, ["serve", "--shutdown-grace", "1s", ...flags, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["pipe", "pipe", log === "inherit" ? "inherit" : "pipe"],
  });
  child.stdin.on("error", () => {});
  // Node loads fetch when it is first used: now, while the program starts.
  void globalThis.Headers;
  let tail = "";
  child.stderr?.setEncoding("utf8").on("data", (text) => (tail = (tail + text).slice(-MOST_LOG)));
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve(cannotStart(path, error)));
    child.on("close", (code, signal) => resolve(`gatelet serve ended with ${signal ?? code}; its log:\n${tail}`));
  });
  const stop = async () => {
    child.ref();
    child.stdin.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), MOST_MILLISECONDS);
    await ended;
    clearTimeout(timer);
  };
  try {
    const { url, api_key: apiKey, refs, tokens } = JSON.parse(await firstLine(child, ended));
    const server = await connect({ url, apiKey, seed, refs, tokens, stop });
    if (seed && !isFile) await server.default.seed(seed);
    // What is left running keeps no process alive.
    for (const handle of [child, child.stdin, child.stdout, child.stderr]) handle?.unref();
    return server;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The first line of a program's output; the rest is read and dropped, so that the program never waits for it. */
async function firstLine(child, ended) {
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const failed = ended.then((problem) => Promise.reject(new Error(problem)));
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("gatelet serve did not say in time that it listens")), MOST_MILLISECONDS);
  });
  return Promise.race([line, failed, late]).finally(() => {
    clearTimeout(timer);
    failed.catch(() => {});
  });
}

/** Connects to a server that runs, by default the one that GATELET_URL and GATELET_KEY name. */
async function connectGatelet({ url = process.env.GATELET_URL, apiKey = process.env.GATELET_KEY, seed } = {}) {
  if (!url || !apiKey) {
    throw new Error("connectGatelet needs the URL and an API key of a server: give both, or set GATELET_URL and GATELET_KEY.");
  }
  return connect({ url: url.replace(/\/+$/, ""), apiKey, seed });
}

/** Uses the server that the environment names, or starts one. */
function openGatelet(options = {}) {
  return process.env.GATELET_URL ? connectGatelet({ seed: options.seed }) : startGatelet(options);
}

async function connect(target) {
  let info;
  try {
    info = await call(target, "GET", CONTROL);
  } catch (error) {
    if (!(error instanceof GateletError) || error.status !== 404) throw error;
    throw new Error(`${target.url} has no control API: it is not a mock, or needs --control (GATELET_CONTROL=true).`, { cause: error });
  }
  if (info.api !== API) {
    throw new Error(`Gatelet ${info.version} at ${target.url} has version ${info.api} of the control API, and this package needs ${API}.`);
  }
  return new GateletServer({ ...target, info });
}

module.exports = { connectGatelet, openGatelet, startGatelet };
