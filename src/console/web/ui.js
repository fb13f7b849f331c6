// Small parts that every screen uses. Whatever a client sent is text here: no part ever sets HTML.

import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from './vendor/htm-preact.js';

/** @typedef {import('../types.d.ts').Entry} Entry */

/** A word in a coloured field. @param {{ tone?: string, title?: string, children?: any }} props */
export const Badge = ({ tone = 'plain', title, children }) => html`<span class=${`badge ${tone}`} title=${title}>${children}</span>`;

/** A sentence in which words in backticks are code. @param {{ text: string }} props */
export const Words = ({ text }) => text.split('`').map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

/** What stands where there is nothing yet. @param {{ title: string, children?: any }} props */
export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<div class="empty-more">${children}</div>`}</div>`;

/** An error, as a sentence. @param {{ error: any }} props */
export const Problem = ({ error }) =>
  error &&
  html`<div class="problem" role="alert">
    ${error.code && html`<code>${error.code}</code>`} <span>${error.message ?? `${error}`}</span>
    ${error.at && html`<span class="quiet"> at ${error.at}</span>`}
  </div>`;

/** A labelled control. @param {{ label: string, hint?: string, wide?: boolean, children?: any }} props */
export const Field = ({ label, hint, wide, children }) =>
  html`<label class=${wide ? 'field wide' : 'field'}><span class="label">${label}</span>${children}${hint && html`<span class="hint">${hint}</span>`}</label>`;

/** A titled part of a screen. @param {{ title: string, actions?: any, children?: any }} props */
export const Section = ({ title, actions, children }) =>
  html`<section class="part" aria-label=${title}>
    <header><h2>${title}</h2>${actions && html`<div class="actions">${actions}</div>`}</header>
    ${children}
  </section>`;

/** A value as JSON. @param {{ value: unknown, label?: string }} props */
export const Json = ({ value, label = 'JSON' }) =>
  html`<pre class="code" tabindex="0" role="region" aria-label=${label}>${typeof value === 'string' ? value : JSON.stringify(value, null, 2)}</pre>`;

/** Copies a text, and says so. @param {{ text: string | (() => string | Promise<string>), children?: any }} props */
export function Copy({ text, children = 'Copy' }) {
  const [state, setState] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? await text() : text);
      setState('Copied');
    } catch {
      setState('Not copied');
    }
    setTimeout(() => setState(''), 1500);
  };
  return html`<button type="button" class="small" onClick=${copy}><span aria-live="polite">${state || children}</span></button>`;
}

/** Words of which one is chosen. @param {{ label: string, value: string, options: [string, string][], onChange: (value: string) => void }} props */
export const Choice = ({ label, value, options, onChange }) =>
  html`<select aria-label=${label} value=${value} onChange=${(/** @type {any} */ event) => onChange(event.target.value)}>
    ${options.map(([option, text]) => html`<option value=${option} selected=${option === value}>${text}</option>`)}
  </select>`;

/** A code in which text shows and copies. @param {{ title: string, text: string }} props */
export const Snippet = ({ title, text }) =>
  html`<figure class="snippet"><figcaption><span>${title}</span><${Copy} text=${text} /></figcaption><${Json} value=${text} label=${title} /></figure>`;

/**
 * Loads something, again whenever `deps` change or `reload` is called.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load @param {unknown[]} deps
 * @returns {{ value: T | null, error: any, isLoading: boolean, reload: () => void }}
 */
export function useLoad(load, deps) {
  const [state, setState] = useState(/** @type {any} */ ({ value: null, error: null, isLoading: true }));
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState((/** @type {any} */ old) => ({ ...old, isLoading: true }));
    load(abort.signal).then(
      (value) => abort.signal.aborted || setState({ value, error: null, isLoading: false }),
      (error) => abort.signal.aborted || setState({ value: null, error, isLoading: false }),
    );
    return () => abort.abort();
  }, [...deps, turn]);
  const reload = useCallback(() => setTurn((/** @type {number} */ turn) => turn + 1), []);
  return { ...state, reload };
}

/** Runs an action for a button: busy while it runs, with its error. @returns {[(action: () => Promise<unknown>) => Promise<void>, boolean, any]} */
export function useAction() {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const run = async (/** @type {() => Promise<unknown>} */ action) => {
    setBusy(true);
    setError(null);
    try {
      await action();
    } catch (error) {
      setError(error);
    }
    setBusy(false);
  };
  return [run, isBusy, error];
}

/** The time, every second, for what counts down. */
export function useNow() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/**
 * Rows of one height, of which only the visible ones exist.
 * @param {{ rows: any[], height: number, row: (item: any, index: number) => any, head: any, label: string, keyOf: (item: any) => string }} props
 */
export function Rows({ rows, height, row, head, label, keyOf }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [view, setView] = useState({ top: 0, size: 600 });
  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const measure = () => setView({ top: element.scrollTop, size: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / height) - 6);
  const last = Math.min(rows.length, Math.ceil((view.top + view.size) / height) + 6);
  return html`<div class="rows" ref=${box} role="table" aria-label=${label} aria-rowcount=${rows.length + 1} tabindex="0">
    <div class="row head" role="row" aria-rowindex="1">${head}</div>
    <div class="space" role="rowgroup" style=${{ height: `${rows.length * height}px` }}>
      ${rows.slice(first, last).map(
        (item, index) =>
          html`<div key=${keyOf(item)} role="row" aria-rowindex=${first + index + 2} class="row" style=${{ transform: `translateY(${(first + index) * height}px)`, height: `${height}px` }}>${row(item, first + index)}</div>`,
      )}
    </div>
  </div>`;
}

/** @param {string} instant */
export const clockTime = (instant) => {
  const date = new Date(instant);
  return `${date.toLocaleTimeString([], { hour12: false })}.${`${date.getMilliseconds()}`.padStart(3, '0')}`;
};

/** A span in the shortest words: 950 ms, 12 s, 4 min, 3 h. @param {number} ms */
export function span(ms) {
  const size = Math.abs(ms);
  if (size < 1) return '<1 ms';
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 60_000) return `${(ms / 1000).toFixed(size < 10_000 ? 1 : 0)} s`;
  if (size < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((size % 60_000) / 1000)} s`;
  if (size < 172_800_000) return `${Math.floor(ms / 3_600_000)} h ${Math.floor((size % 3_600_000) / 60_000)} min`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** @param {string} instant @param {number} now */
export function ago(instant, now) {
  const ms = now - Date.parse(instant);
  return ms < 1500 ? 'just now' : `${span(ms).replace(/ \d+ s$/, '')} ago`;
}

/** @param {number} bytes */
export const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1_048_576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`);

/** Who sent a request, shortly. @param {Entry} entry */
export function callerOf({ caller, refs }) {
  if (caller.kind === 'client_token') return refs.token ? `token ${refs.token}` : `token …${caller.jti?.slice(-6) ?? ''}`;
  return caller.kind === 'api_key' ? 'API key' : 'nobody known';
}

/** An id, shortened to what tells it apart. @param {string} id */
export const shortId = (id) => (id.length > 22 ? `${id.slice(0, 14)}…${id.slice(-4)}` : id);

/** The agent of a request: its ref, or its id. @param {Entry} entry */
export const agentOf = (entry) => entry.refs.agent ?? (entry.agents?.[0] ? shortId(entry.agents[0]) : '');
