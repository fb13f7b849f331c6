/** A refusal of Gatelet's. `message` says what to do; after `verify` it is the whole report. */
export class GateletError extends Error {
  readonly status: number;
  readonly code?: string;
  /** Where in the body the mistake is: a JSON pointer, or a line. */
  readonly at?: string;
  readonly requestId?: string;
  readonly body: Record<string, unknown>;
}

/** A duration as the server reads it: `"500ms"`, `"90s"`, `"5m"`. */
export type Duration = string;

/** What a namespace begins with: tables as in a seed file, the path of a file or folder, or a list of these. */
export type Seed = string | URL | { readonly [table: string]: unknown } | readonly Seed[];

/** What permission a client token may have for an agent. */
export type Access = "read_messages" | "write_messages" | "read_agent" | "write_agent";

export interface StartOptions {
  /** What the namespace `default` begins with, and every namespace that has no seed of its own. */
  seed?: Seed;
  /** The path of a TOML file with replies. */
  script?: string;
  /** More arguments of `gatelet serve`. */
  args?: readonly string[];
  /** More environment. GATELET_* and LETTA_* of this process are not passed on. */
  env?: Readonly<Record<string, string>>;
  /** The program; otherwise GATELET_BINARY, or the one that was installed. */
  binary?: string;
  /** `"inherit"` shows the server's log. */
  log?: "inherit";
}

/** Starts a server in memory on a free port. It ends with `stop()`, and with this process. */
export function startGatelet(options?: StartOptions): Promise<GateletServer>;

/** Connects to a server that runs; the default is GATELET_URL with GATELET_KEY. */
export function connectGatelet(options?: { url?: string; apiKey?: string; seed?: Seed }): Promise<GateletServer>;

/**
 * A `fetch` for the SDK of a back end that several tests share: each request says which namespace it is for. `source`
 * returns the Cookie header of the request that the back end handles, or the name of a namespace. Without GATELET_URL in
 * the environment it returns `fetch` as it is.
 */
export function forwardNamespace(source: () => string | null | undefined, fetch?: typeof globalThis.fetch): typeof globalThis.fetch;

export interface NamespaceOptions {
  name?: string;
  seed?: Seed;
  /** A text from which ids are derived, `"random"`, or `"count"`. */
  ids?: string;
  clock?: string | Partial<Pick<Clock, "now" | "frozen" | "timers" | "expiry">>;
  limits?: { requests_per_minute?: number; streams_per_token?: number; large_bodies_per_token?: number };
  /** Definitions, or the arguments of `reply()`. */
  replies?: ReadonlyArray<Reply | [match: string | RegExp | Reply, reply?: string | Step | Step[], options?: Partial<Reply>]>;
  faults?: readonly Fault[];
  /** What a text is replied to that no reply fits: an echo, or a turn that fails with what came near. */
  unmatched?: "echo" | "refuse";
  /** Replies in TOML: the text of a script, not its path. */
  script?: string;
  idleTtl?: Duration | "never";
  ifExists?: "fail" | "reset" | "keep";
  apiKey?: string;
}

export interface GateletServer {
  readonly url: string;
  readonly baseURL: string;
  readonly apiKey: string;
  readonly version: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** LETTA_BASE_URL, LETTA_API_KEY, GATELET_URL, GATELET_KEY. */
  readonly env: Record<string, string>;
  /** The namespace `default`. */
  readonly default: Namespace;
  namespace(options?: NamespaceOptions): Promise<Namespace>;
  namespaces(): Promise<Array<Record<string, unknown> & { name: string }>>;
  /** Any call of the control API, such as `call("GET", "/ns")`. */
  call(method: string, path: string, content?: unknown): Promise<any>;
  requireFeature(feature: string): void;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface Clock {
  now: string;
  offset_ms: number;
  frozen: boolean;
  timers: "real" | "virtual" | "instant";
  expiry: "as_meant" | "literal";
  pending: Array<{ due: string; kind: string; id?: string }>;
}

/** A request that Gatelet received. */
export interface Entry {
  id: number;
  at: string;
  namespace: string;
  phase: "received" | "decided" | "answering" | "finished";
  operation?: string;
  method: string;
  target: string;
  caller?: { kind: "client_token" | "api_key" | "none"; [field: string]: unknown };
  sent?: { origin?: string; headers: Record<string, string>; body?: any; [field: string]: unknown };
  decision?: { outcome: "admitted" | "denied"; steps: Array<{ asked: string; said: string }> };
  answer?: { status: number; code?: string | null; frames?: number; [field: string]: unknown } | null;
  [field: string]: any;
}

export interface Filter {
  /** The name of an operation in `gatelet operations`. */
  operation?: string;
  /** The id, name or ref of an agent. */
  agent?: string;
  caller?: "client_token" | "api_key" | "none";
  token?: string;
  origin?: string;
  /** `403`, or `"4xx"`. */
  status?: number | string;
  code?: string;
  outcome?: "admitted" | "denied";
  phase?: Entry["phase"];
  /** A part of the request's body. */
  text?: string;
}

export interface Expectation extends Omit<Filter, "phase"> {
  headers?: Record<string, unknown>;
  /** By JSON pointer: a value, or `{ equals | matches | contains | exists }`. */
  body?: Record<string, unknown>;
  times?: number | { min?: number; max?: number };
}

export interface VerifyOptions {
  order?: "any" | "in_order" | "exactly";
  nothing_else?: boolean;
  phase?: "received" | "finished";
  after?: string | number;
  within?: Duration;
}

export interface Journal {
  list(filter?: Filter & { after?: string | number; limit?: number; wait?: Duration; count?: number }): Promise<{
    entries: Entry[];
    next: any;
    dropped: number;
    timed_out: boolean;
  }>;
  get(id: number): Promise<Entry>;
  frames(id: number): Promise<any>;
  clear(): Promise<void>;
  /** Waits for a request that fits, and returns its entry; the error says what came near. */
  waitFor(
    filter: Omit<Expectation, "times">,
    options?: { count?: number; within?: Duration; after?: string | number; phase?: "received" | "finished" },
  ): Promise<Entry>;
}

/** One step of a turn, such as `{ assistant: "Sunny." }` or `{ tool_call: "get_weather", arguments: {...} }`. */
export type Step = Record<string, unknown>;

/** What is replied to which text: see docs/testing.md. */
export interface Reply {
  id?: string;
  /** A regular expression that the user's text fits. */
  user?: string | RegExp;
  /** A part of the user's text. */
  text?: string;
  agent?: string;
  turn?: number;
  times?: number;
  priority?: number;
  steps?: Step[];
  [field: string]: unknown;
}

/** What goes wrong with which request: see docs/faults.md. */
export type Fault = { id?: string; preset?: string; [field: string]: unknown };

export interface Finding {
  rule: string;
  severity: "info" | "warn" | "error";
  sentence: string;
  fix: string;
  evidence: number[];
  allowed: string | null;
  [field: string]: unknown;
}

export interface Verdicts {
  findings: Finding[];
  allowed: Array<{ rule: string; reason: string }>;
  coverage: Record<string, any>;
}

export interface Namespace {
  readonly name: string;
  /** The key of this namespace, for the back end under test. */
  readonly apiKey: string;
  readonly baseURL: string;
  readonly server: GateletServer;
  /** LETTA_BASE_URL and LETTA_API_KEY. */
  readonly env: Record<string, string>;
  /** Ids by the refs of the seed. */
  readonly refs: Record<string, string>;
  /** The tokens of the seed, by their refs. */
  readonly tokens: Record<string, { token: string; id: string }>;
  readonly journal: Journal;

  /** Issues a client token for an agent, by ref or id. `expiresIn` is in seconds. */
  token(agent: string, access: readonly (Access | (string & {}))[], options: { origin: string; expiresIn?: number }): Promise<string>;
  expire(token: string | { id: string }): Promise<any>;
  revoke(token: string | { id: string }): Promise<any>;
  seed(seed: Seed): Promise<void>;

  /** Adds a reply to texts with this part, or that fit this pattern, or to what the object says. Returns its id. */
  reply(match: string | RegExp | Reply, reply?: string | Step | Step[], options?: Partial<Reply>): Promise<string>;
  replies(): Promise<Array<{ id: string; source: string; hits: number; left: number | null; definition: Reply }>>;
  clearReplies(id?: string): Promise<void>;
  script(toml: string): Promise<any>;
  fault(fault: Fault | readonly Fault[]): Promise<string[]>;
  faults(): Promise<Array<{ id: string; fired: number; left: number | null; definition: Fault }>>;
  clearFaults(id?: string): Promise<void>;

  clock(): Promise<Clock>;
  setClock(clock: string | Partial<Pick<Clock, "now" | "frozen" | "timers" | "expiry">>): Promise<Clock>;
  /** Moves the clock, and then that of a page of Playwright's by as much. */
  advance(
    step: Duration | { by: Duration } | { to: string },
    options?: { page?: { clock: { fastForward(milliseconds: number): Promise<void> } } },
  ): Promise<{ now: string; fired: Clock["pending"]; settled: boolean }>;

  verify(expect: readonly Expectation[], options?: VerifyOptions): Promise<{ verified: true; matched: number[][] }>;
  verify(request: VerifyOptions & { expect: readonly Expectation[] }): Promise<{ verified: true; matched: number[][] }>;
  explain(request: Record<string, unknown>): Promise<any>;
  verdicts(min?: Finding["severity"]): Promise<Verdicts>;
  allow(rule: string, reason: string): Promise<any>;
  unused(): Promise<{ replies: string[]; faults: string[]; refs: string[] }>;

  /** Returns what was dropped. `refs` and `tokens` are those of the new world. */
  reset(options?: { to?: "seed" | "empty"; keep?: Array<"replies" | "faults" | "journal"> }): Promise<Record<string, number>>;
  snapshot(name: string): Promise<Record<string, unknown>>;
  restore(name: string): Promise<void>;
  fork(options?: { name?: string; snapshot?: string; idleTtl?: Duration | "never" }): Promise<Namespace>;
  delete(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What `expect(namespace).toHaveReceived(operation, options)` takes. */
export interface ReceivedOptions extends Omit<Expectation, "operation"> {
  /** How long to wait: `"5s"`. */
  within?: Duration;
  after?: string | number;
  phase?: "received" | "finished";
}
