// Requests: the last one that was refused, and why; then all of them, live.

import { html, useEffect, useMemo, useState } from './vendor/htm-preact.js';
import { call, of } from './api.js';
import { keyOf, matcher } from './journal.js';
import { Details } from './request.js';
import { Badge, Choice, Empty, Problem, Rows, agentOf, ago, callerOf, clockTime, span, useNow } from './ui.js';

/** @typedef {import('../types.d.ts').Entry} Entry */

const ROW = 34;
const NO_FILTER = { operation: '', agent: '', caller: '', origin: '', outcome: '', status: '', code: '', text: '' };

/** The frames of streams, read once each. @type {Map<string, Promise<import('../types.d.ts').FrameView[]>>} */
const frames = new Map();
/** @param {Entry} entry @returns {Promise<import('../types.d.ts').FrameView[]>} */
export function framesOf(entry) {
  const key = `${keyOf(entry)} ${entry.request_id}`;
  const known = frames.get(key);
  if (known) return known;
  const read = call('GET', `${of(entry.namespace)}/journal/${entry.id}/frames`);
  // A stream that goes on has more frames later.
  if (entry.phase === 'finished') {
    frames.set(key, read);
    read.catch(() => frames.delete(key));
    if (frames.size > 500) frames.delete(/** @type {string} */ (frames.keys().next().value));
  }
  return read;
}

/** When the frames of a stream were sent, as ticks on a line. @param {{ entry: Entry }} props */
function Sparkline({ entry }) {
  const [at, setAt] = useState(/** @type {number[]} */ ([]));
  const count = entry.answer?.frames ?? 0;
  const isFinished = entry.phase === 'finished';
  useEffect(() => {
    if (!count || !isFinished) return;
    let isGone = false;
    // Rows that only scroll past are not worth a request.
    const timer = setTimeout(() => framesOf(entry).then((read) => isGone || setAt(read.map(({ ms }) => ms))).catch(() => {}), 150);
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [keyOf(entry), isFinished]);
  if (!count) return html`<span></span>`;
  const [first, last] = [at[0] ?? 0, at.at(-1) ?? 0];
  const place = (/** @type {number} */ ms) => 1 + ((ms - first) / Math.max(last - first, 1)) * 54;
  return html`<span class="spark" title=${`${count} frames in ${span(last - first)}`}>
    <svg viewBox="0 0 56 14" width="56" height="14" aria-hidden="true"><path d=${`M0 13.5H56${at.map((ms) => `M${place(ms).toFixed(1)} 3V13`).join('')}`} /></svg>
    <span>${count}</span>
  </span>`;
}

/** @param {{ entry: Entry }} props */
export function Decision({ entry }) {
  const { answer, decision, phase } = entry;
  if (decision.outcome === 'denied') return html`<${Badge} tone="bad">${answer?.code ?? 'refused'}</${Badge}>`;
  if (answer?.code || (answer?.status ?? 0) >= 400) return html`<${Badge} tone="warn">${answer?.code ?? 'failed'}</${Badge}>`;
  if (answer?.ended === 'cut') return html`<${Badge} tone="warn">cut off</${Badge}>`;
  if (answer?.ended === 'client_left') return html`<${Badge}>client left</${Badge}>`;
  if (answer?.ended === 'token_ended') return html`<${Badge} tone="warn">token ended</${Badge}>`;
  if (phase !== 'finished') return html`<${Badge} tone="busy">${phase === 'answering' ? 'streaming' : 'in progress'}</${Badge}>`;
  return html`<${Badge} tone="good">admitted</${Badge}>`;
}

/** What a refused request sent, and what it should have been: the step that refused it. @param {Entry} entry */
export function why(entry) {
  const step = entry.decision.steps.at(-1);
  const sentence = entry.answer?.message ?? step?.said ?? 'The request was refused.';
  const facts = step?.said.split(': no. ')[0];
  return { asked: step?.asked ?? '', sentence, facts: facts === step?.said ? '' : facts };
}

/** @param {{ entry: Entry, now: number }} props */
function LastRefusal({ entry, now }) {
  const { asked, sentence, facts } = why(entry);
  return html`<section class="refusal" aria-labelledby="last-refusal">
    <div class="refusal-head">
      <h2 id="last-refusal">Last refused request</h2>
      <${Badge} tone="bad">${entry.answer?.status ?? ''} ${entry.answer?.code ?? ''}</${Badge}>
      <span class="quiet">${ago(entry.real_at, now)}</span>
    </div>
    <p class="sentence">${sentence}</p>
    ${facts && html`<p class="facts"><span class="label">${asked}</span> ${facts}</p>`}
    <p class="request-line"><code>${entry.method} ${entry.target}</code></p>
    <p class="quiet">by ${callerOf(entry)}${entry.sent.origin ? ` from ${entry.sent.origin}` : ', without an Origin'}
      <a class="more" href=${`#/requests/${entry.namespace}/${entry.id}`}>See every step</a></p>
  </section>`;
}

/** @param {any} props */
export function Requests({ ns, isAll, journal, rest, space }) {
  const [filter, setFilter] = useState(NO_FILTER);
  const now = useNow();
  const entries = /** @type {Entry[]} */ (journal.entries);
  const isFiltered = Object.values(filter).some(Boolean);
  const shown = useMemo(() => (isFiltered ? entries.filter(matcher(filter)) : entries).toReversed(), [journal, journal.version, filter]);
  const refused = useMemo(() => entries.findLast((entry) => entry.decision.outcome === 'denied' && entry.answer), [journal, journal.version]);
  const [space_, id] = rest;
  const open = id && (journal.find(space_, Number(id)) ?? 'missing');
  const set = (/** @type {string} */ name) => (/** @type {any} */ value) => setFilter({ ...filter, [name]: value?.target?.value ?? value });
  const input = (/** @type {keyof typeof NO_FILTER} */ name, /** @type {string} */ label) =>
    html`<input type="search" aria-label=${label} placeholder=${label} value=${filter[name]} onInput=${set(name)} />`;
  useEffect(() => {
    const close = (/** @type {KeyboardEvent} */ event) => event.key === 'Escape' && rest.length && (location.hash = '#/requests');
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, [rest.length]);
  const clear = async () => {
    await Promise.all(journal.names.map((/** @type {string} */ name) => call('DELETE', `${of(name)}/journal`)));
    journal.clear();
  };
  return html`<div class=${open ? 'split open' : 'split'}>
    <div class="list">
      <${Problem} error=${journal.error} />
      ${open ? null : refused ? html`<${LastRefusal} entry=${refused} now=${now} />` : entries.length > 0 && html`<p class="all-well">No request was refused.</p>`}
      <div class="list-head">
        <h2>${isAll ? 'All requests' : 'Requests'}</h2>
        <span class="quiet" role="status">${isFiltered ? `${shown.length} of ${entries.length}` : entries.length}${journal.dropped ? `; ${journal.dropped} older ones were dropped` : ''}</span>
        <span class="grow"></span>
        ${isFiltered && html`<button type="button" class="small" onClick=${() => setFilter(NO_FILTER)}>Show all</button>`}
        ${entries.length > 0 && html`<button type="button" class="small" onClick=${clear} title="Removes them from the journal">Clear</button>`}
      </div>
      <form class="filters" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
        ${input('operation', 'Operation')} ${input('agent', 'Agent')}
        <${Choice} label="Decision" value=${filter.outcome} onChange=${set('outcome')} options=${[['', 'any decision'], ['admitted', 'admitted'], ['denied', 'refused']]} />
        <${Choice} label="Caller" value=${filter.caller} onChange=${set('caller')} options=${[['', 'any caller'], ['client_token', 'client token'], ['api_key', 'API key'], ['none', 'nobody known']]} />
        ${input('origin', 'Origin')} ${input('status', 'Status or 4xx')} ${input('code', 'Code')} ${input('text', 'Text in body')}
      </form>
      ${
        entries.length === 0
          ? html`<${Empty} title="No requests yet">
              <p>Point an SDK at <code>${location.origin}</code>, and its requests appear here as they arrive.</p>
              <p><a class="button primary" href="#/agents">Talk to an agent here</a></p>
            </${Empty}>`
          : shown.length === 0
            ? html`<${Empty} title="No request matches the filters" />`
            : html`<${Rows} label="Requests, newest first" rows=${shown} height=${ROW} keyOf=${keyOf}
                head=${['Time', 'Operation', 'Agent', 'Caller', 'Origin', 'Decision', 'Took', 'Frames'].map((title) => html`<span role="columnheader" class=${title === 'Took' ? 'number' : undefined}>${title}</span>`)}
                row=${(/** @type {Entry} */ entry) => html`<${Row} entry=${entry} isAll=${isAll} isOpen=${open && open !== 'missing' && keyOf(open) === keyOf(entry)} />`} />`
      }
    </div>
    ${
      open &&
      html`<aside class="panel" aria-label="One request">
        ${open === 'missing' ? html`<${Missing} ns=${space_} id=${id} />` : html`<${Details} key=${keyOf(open)} entry=${open} journal=${journal} />`}
      </aside>`
    }
  </div>`;
}

/** @param {{ ns: string, id: string }} props */
const Missing = ({ ns, id }) =>
  html`<div class="panel-head"><h2>Request ${ns}/${id}</h2><a class="button small" href="#/requests">Close</a></div><${Empty} title="The journal no longer has it" />`;

/** @param {{ entry: Entry, isAll: boolean, isOpen: boolean }} props */
function Row({ entry, isAll, isOpen }) {
  const took = entry.answer?.ended_ms ?? entry.answer?.first_byte_ms;
  const marks = [entry.retry_of !== null && ['retry', `repeats request ${entry.retry_of}`], entry.fault && ['fault', `fault ${entry.fault.id}`], entry.verdicts.length > 0 && ['verdict', entry.verdicts.join(', ')]];
  return html`
    <span role="cell" class="mono quiet">${clockTime(entry.real_at)}</span>
    <span role="cell" class="what"><a href=${`#/requests/${entry.namespace}/${entry.id}`} aria-current=${isOpen ? 'true' : undefined}>${entry.operation ?? `${entry.method} ${entry.target}`}</a>
      ${isAll && html`<span class="quiet"> ${entry.namespace}</span>`}
      ${marks.map((mark) => mark && html`<span class=${`mark-of of-${mark[0]}`} title=${mark[1]}>${mark[0]}</span>`)}</span>
    <span role="cell">${agentOf(entry)}</span>
    <span role="cell">${callerOf(entry)}</span>
    <span role="cell" class="quiet">${entry.sent.origin ?? ''}</span>
    <span role="cell"><${Decision} entry=${entry} /></span>
    <span role="cell" class="mono number">${took === null || took === undefined ? '' : span(took)}</span>
    <span role="cell"><${Sparkline} entry=${entry} /></span>`;
}
