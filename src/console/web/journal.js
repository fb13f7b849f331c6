// The entries of the journal, kept current by its stream. Entries are read by an ordinary GET first; the stream only adds.

import { call, events, of, send } from './api.js';

/** @typedef {import('../types.d.ts').Entry} Entry */

/** How many entries the page keeps. */
const MOST = 10_000;
/** How many namespaces are watched at once, when all of them are shown. */
const MOST_WATCHED = 24;

/** The entries of some namespaces, oldest first. */
export class Journal {
  /** @param {string[]} names @param {() => void} changed called at most once a frame */
  constructor(names, changed) {
    this.names = names.slice(0, MOST_WATCHED);
    this.changed = changed;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Map<string, number>} the place of each entry in `entries` */
    this.places = new Map();
    this.dropped = 0;
    /** Grows with every change. */
    this.version = 0;
    /** @type {any} */
    this.error = null;
    this.live = 0;
    this.abort = new AbortController();
    this.isPending = false;
    for (const name of this.names) this.follow(name);
  }

  stop() {
    this.abort.abort();
  }

  /** @param {string} name */
  async follow(name) {
    const { signal } = this.abort;
    let after = 0;
    let isFirst = true;
    while (!signal.aborted) {
      try {
        const { entries, dropped } = await call('GET', `${of(name)}/journal?after=${after}`, undefined, signal);
        if (isFirst) this.dropped += Number(dropped) || 0;
        isFirst = false;
        for (const entry of entries) this.put(entry);
        this.error = null;
        this.tell();
        after = Math.max(after, ...entries.map((/** @type {Entry} */ entry) => entry.id));
        const response = await send('GET', `${of(name)}/events?after=${after}`, undefined, signal);
        if (!response.ok) throw new Error(`The journal of ${name} cannot be followed.`);
        this.live += 1;
        this.tell();
        try {
          for await (const { event, data } of events(response)) {
            if (event === 'entry') {
              const entry = JSON.parse(data);
              after = Math.max(after, entry.id);
              this.put(entry);
              this.tell();
            } else if (event === 'lagged') {
              break;
            }
          }
        } finally {
          this.live -= 1;
          this.tell();
        }
      } catch (error) {
        if (signal.aborted) return;
        this.error = error;
        this.tell();
      }
      // What was missed is read again from the start: an entry may have changed.
      after = 0;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  /** @param {Entry} entry */
  put(entry) {
    this.version += 1;
    const key = keyOf(entry);
    const place = this.places.get(key);
    if (place !== undefined) {
      this.entries[place] = entry;
      return;
    }
    const last = this.entries.at(-1);
    this.entries.push(entry);
    if (last && last.real_at > entry.real_at) {
      this.entries.sort((one, other) => (one.real_at < other.real_at ? -1 : one.real_at > other.real_at ? 1 : one.id - other.id));
      this.index();
    } else {
      this.places.set(key, this.entries.length - 1);
    }
    if (this.entries.length > MOST + 1000) {
      this.entries.splice(0, this.entries.length - MOST);
      this.index();
    }
  }

  index() {
    this.places = new Map(this.entries.map((entry, place) => [keyOf(entry), place]));
  }

  clear() {
    this.entries = [];
    this.places.clear();
    this.dropped = 0;
    this.version += 1;
    this.changed();
  }

  tell() {
    if (this.isPending) return;
    this.isPending = true;
    // Not by frames alone: a hidden tab has none.
    setTimeout(() => {
      this.isPending = false;
      if (!this.abort.signal.aborted) this.changed();
    }, 50);
  }

  /** @param {string} name @param {number} id */
  find(name, id) {
    const place = this.places.get(`${name}/${id}`);
    return place === undefined ? null : this.entries[place];
  }
}

/** @param {Entry} entry */
export const keyOf = (entry) => `${entry.namespace}/${entry.id}`;

/** The filters of the journal, as a function. @param {Record<string, string>} filter @returns {(entry: Entry) => boolean} */
export function matcher(filter) {
  const has = (/** @type {string | null | undefined} */ text, /** @type {string} */ part) => (text ?? '').toLowerCase().includes(part);
  const low = Object.fromEntries(Object.entries(filter).map(([name, value]) => [name, value.trim().toLowerCase()]));
  return (entry) => {
    const { operation, agent, caller, origin, status, code, outcome, text } = low;
    if (operation && !has(entry.operation, operation) && !has(`${entry.method} ${entry.target}`, operation)) return false;
    if (agent && !has(entry.refs.agent, agent) && !(entry.agents ?? []).some((id) => has(id, agent))) return false;
    if (caller && entry.caller.kind !== caller) return false;
    if (origin && !has(entry.sent.origin, origin)) return false;
    if (outcome && entry.decision.outcome !== outcome) return false;
    if (code && !has(entry.answer?.code, code)) return false;
    if (status) {
      const sent = `${entry.answer?.status ?? ''}`;
      if (status.endsWith('xx') ? sent[0] !== status[0] : !sent.startsWith(status)) return false;
    }
    if (text && !has(typeof entry.sent.body === 'string' ? entry.sent.body : JSON.stringify(entry.sent.body), text)) return false;
    return true;
  };
}
