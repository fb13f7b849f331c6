// One request: how it was decided, what was sent, what came back and when.

import { html, useEffect, useState } from './vendor/htm-preact.js';
import { Decision, framesOf, why } from './requests.js';
import { Badge, Copy, Json, Problem, agentOf, callerOf, clockTime, shortId, size, span, useLoad } from './ui.js';

/** @typedef {import('../types.d.ts').Entry} Entry */
/** @typedef {import('../types.d.ts').FrameView} FrameView */

/** @param {{ entry: Entry, journal: any }} props */
export function Details({ entry, journal }) {
  const { answer, sent, caller } = entry;
  const [tab, setTab] = useState('decision');
  const isRefused = entry.decision.outcome === 'denied';
  const frames = useLoad(() => (answer?.frames ? framesOf(entry) : Promise.resolve([])), [entry.id, entry.phase, answer?.frames]);
  const tabs = [
    ['decision', 'Decision'],
    ['sent', 'Sent'],
    ...(answer?.frames ? [['frames', `Frames (${answer.frames})`]] : []),
    ...(entry.reply ? [['reply', 'Reply']] : []),
  ];
  const duration = answer?.ended_ms ?? answer?.first_byte_ms;
  return html`
    <div class="panel-head">
      <h2>${entry.operation ?? 'No operation'}</h2>
      <${Decision} entry=${entry} />
      <span class="grow"></span>
      <a class="button small" href="#/requests" aria-label="Close this request">Close</a>
    </div>
    <p class="request-line"><code>${entry.method} ${entry.target}</code></p>
    <dl class="facts-of">
      <dt>Request</dt><dd>${entry.namespace}/${entry.id} at ${clockTime(entry.real_at)}</dd>
      <dt>Caller</dt><dd>${callerOf(entry)}${caller.jti && html` <span class="quiet mono">${shortId(caller.jti)}</span>`}</dd>
      ${agentOf(entry) && html`<dt>Agent</dt><dd>${agentOf(entry)}</dd>`}
      ${answer && html`<dt>Response</dt><dd>${answer.status ?? 'none'}${answer.code ? ` ${answer.code}` : ''}, ${size(answer.bytes)}${duration === null || duration === undefined ? '' : ` in ${span(duration)}`}${answer.ended && answer.ended !== 'done' ? `, ${answer.ended.replace('_', ' ')}` : ''}</dd>`}
      ${entry.retry_of !== null && html`<dt>Repeats</dt><dd><a href=${`#/requests/${entry.namespace}/${entry.retry_of}`}>request ${entry.retry_of}</a></dd>`}
      ${entry.fault && html`<dt>Fault</dt><dd><code>${entry.fault.id}</code> ${(entry.fault.did ?? []).join(', ')}${entry.fault.not_possible?.length ? ` (not possible: ${entry.fault.not_possible.join(', ')})` : ''}</dd>`}
      ${entry.verdicts.length > 0 && html`<dt>Verdicts</dt><dd>${entry.verdicts.map((rule) => html`<a class="pad" href="#/verdicts">${rule}</a>`)}</dd>`}
      ${entry.preflight && html`<dt>Preflight</dt><dd>${entry.preflight.status} at ${clockTime(entry.preflight.at)}</dd>`}
    </dl>
    ${isRefused && html`<${Refused} entry=${entry} />`}
    <div class="copies">
      <${Copy} text=${() => curl(entry)}>Copy as curl</${Copy}>
      ${entry.operation && html`<${Copy} text=${() => expectation(entry)}>Copy as expectation</${Copy}>`}
      ${(frames.value ?? []).length > 0 && html`<${Copy} text=${() => reply(entry, frames.value ?? [])}>Copy as reply</${Copy}>`}
    </div>
    <div class="tabs" role="tablist" aria-label="Parts of the request">
      ${tabs.map(
        ([id, title]) =>
          html`<button role="tab" id=${`tab-${id}`} aria-controls="tab-panel" aria-selected=${tab === id} onClick=${() => setTab(id)}>${title}</button>`,
      )}
    </div>
    <div id="tab-panel" role="tabpanel" aria-labelledby=${`tab-${tab}`} tabindex="0">
      ${tab === 'decision' && html`<${Steps} steps=${entry.decision.steps} isRefused=${isRefused} />`}
      ${tab === 'sent' && html`<${SentParts} sent=${sent} />`}
      ${tab === 'frames' && html`<${Problem} error=${frames.error} /><${Frames} frames=${frames.value ?? []} />`}
      ${tab === 'reply' && html`<${ReplyOf} reply=${/** @type {any} */ (entry.reply)} />`}
    </div>`;
}

/** What was sent against what is bound. @param {{ entry: Entry }} props */
function Refused({ entry }) {
  const { sentence } = why(entry);
  const { caller, sent, answer } = entry;
  const rows = [
    answer?.code?.startsWith('origin') && caller.origin_bound && ['Origin', sent.origin ?? 'none sent', caller.origin_bound],
    answer?.code === 'token_expired' && caller.expires_in_ms !== undefined && ['Lifetime', `${span(-caller.expires_in_ms)} past its end`, 'a token that is still valid'],
  ].filter(Boolean);
  return html`<div class="refused">
    <p class="sentence">${sentence}</p>
    ${rows.length > 0 && html`<table class="versus"><thead><tr><td></td><th scope="col">Sent</th><th scope="col">Bound to</th></tr></thead>
      <tbody>${rows.map((row) => row && html`<tr><th scope="row">${row[0]}</th><td class="bad">${row[1]}</td><td class="good">${row[2]}</td></tr>`)}</tbody></table>`}
  </div>`;
}

/** @param {{ steps: import('../types.d.ts').Step[], isRefused: boolean }} props */
export const Steps = ({ steps, isRefused }) =>
  steps.length === 0
    ? html`<p class="quiet">Nothing was decided yet.</p>`
    : html`<ol class="steps">${steps.map((step, index) => {
        const isLast = isRefused && index === steps.length - 1;
        return html`<li class=${isLast ? 'no' : 'yes'}><span class="asked">${step.asked}</span><span class="said">${step.said}</span><span class="sr">${isLast ? 'refused here' : 'passed'}</span></li>`;
      })}</ol>`;

/** @param {{ sent: Entry['sent'] }} props */
const SentParts = ({ sent }) => html`
  <dl class="facts-of">
    <dt>Origin</dt><dd>${sent.origin ?? html`<span class="quiet">none</span>`}</dd>
    ${Object.entries(sent.headers).map(([name, value]) => html`<dt>${name}</dt><dd class="mono">${value}</dd>`)}
    ${sent.dropped_fields.length > 0 && html`<dt>Dropped</dt><dd>${sent.dropped_fields.join(', ')} <span class="quiet">unknown to Letta</span></dd>`}
  </dl>
  ${sent.body === null || sent.body === undefined ? html`<p class="quiet">No body.</p>` : html`<${Json} value=${sent.body} label="Body" />`}
  ${sent.body_cut && html`<p class="quiet">Only the beginning is kept; ${size(sent.body_bytes)} were sent.</p>`}`;

/** @param {{ frames: FrameView[] }} props */
function Frames({ frames }) {
  const [open, setOpen] = useState(/** @type {number | null} */ (null));
  const last = frames.at(-1)?.ms ?? 1;
  const first = frames[0]?.ms ?? 0;
  return html`<ol class="frames">${frames.map(
    (frame) => html`<li>
      <button aria-expanded=${open === frame.n} onClick=${() => setOpen(open === frame.n ? null : frame.n)}>
        <span class="mono number">${frame.n}</span>
        <span class="track" aria-hidden="true"><i style=${{ left: `${((frame.ms - first) / Math.max(last - first, 1)) * 100}%` }}></i></span>
        <span class="mono number">${span(frame.ms)}</span>
        <span class="type">${frame.type ?? 'event'}</span>
        <span class="preview">${preview(frame.data)}</span>
      </button>
      ${open === frame.n && html`<${Json} value=${frame.data} label=${`Frame ${frame.n}`} />`}
    </li>`,
  )}</ol>`;
}

/** @param {unknown} data */
function preview(data) {
  if (typeof data === 'string') return data;
  const { content, reasoning, tool_call, tool_return, stop_reason } = /** @type {any} */ (data ?? {});
  const text = content ?? reasoning ?? tool_call?.name ?? tool_return ?? stop_reason ?? '';
  return typeof text === 'string' ? text : JSON.stringify(text);
}

/** @param {{ reply: any }} props */
const ReplyOf = ({ reply }) => html`
  <p>${reply.source === 'echo' ? 'No reply matched, so the text was echoed.' : reply.source === 'refused' ? 'No reply matched, and the namespace refuses such messages.' : html`The reply <code>${reply.id}</code> of the ${reply.source === 'script' ? 'script' : 'namespace'} was used, at step ${reply.step ?? 0}.`}</p>
  ${(reply.near_misses ?? []).map(
    (/** @type {import('../types.d.ts').NearMiss} */ miss) => html`<section class="miss"><h3>Nearly: <code>${miss.id}</code></h3>
      <ul class="criteria">${miss.criteria.map((each) => html`<li class=${each.ok ? 'yes' : 'no'}><code>${each.name}</code> ${each.ok ? 'matches' : html`expected ${said(each.expected)}, found ${said(each.found)}`}</li>`)}</ul></section>`,
  )}`;

/** @param {unknown} value */
const said = (value) => html`<code>${value === undefined ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value)}</code>`;

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The request as a command line. @param {Entry} entry */
export function curl(entry) {
  const variable = entry.caller.kind === 'client_token' ? 'TOKEN' : 'LETTA_API_KEY';
  const lines = [`curl -X ${entry.method} ${quoted(location.origin + entry.target)}`];
  if (entry.caller.kind !== 'none') lines.push(`-H "Authorization: Bearer $${variable}"`);
  if (entry.sent.origin) lines.push(`-H ${quoted(`Origin: ${entry.sent.origin}`)}`);
  // How a client names itself decides what it is sent.
  for (const [name, value] of Object.entries(entry.sent.headers)) {
    if (name !== 'content-type' && name !== 'x-stainless-retry-count') lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  if (entry.sent.body !== null && entry.sent.body !== undefined) {
    lines.push(`-H 'Content-Type: ${entry.sent.headers['content-type'] ?? 'application/json'}'`);
    lines.push(`--data-raw ${quoted(typeof entry.sent.body === 'string' ? entry.sent.body : JSON.stringify(entry.sent.body))}`);
  }
  return lines.join(' \\\n  ');
}

/** @param {Entry} entry */
function userText(entry) {
  const body = /** @type {any} */ (entry.sent.body ?? {});
  const content = body.messages?.findLast?.((/** @type {any} */ message) => message.role === 'user')?.content ?? body.input ?? '';
  return typeof content === 'string' ? content : (content ?? []).map((/** @type {any} */ part) => part.text ?? '').join('');
}

/** What the agent said, as a reply of a test. @param {Entry} entry @param {FrameView[]} frames */
export function reply(entry, frames) {
  /** @type {any[]} */
  const steps = [];
  let id = '';
  for (const { type, data } of frames) {
    const message = /** @type {any} */ (data);
    const kind = type === 'assistant_message' ? 'assistant' : type === 'reasoning_message' ? 'reasoning' : null;
    if (kind) {
      const text = kind === 'assistant' ? contentOf(message.content) : message.reasoning ?? '';
      if (message.id === id && steps.at(-1)?.[kind] !== undefined) steps.at(-1)[kind] += text;
      else steps.push({ [kind]: text });
      id = message.id;
    } else if (type === 'tool_call_message' && message.tool_call?.name) {
      steps.push({ tool_call: message.tool_call.name, arguments: parsed(message.tool_call.arguments) });
    } else if (type === 'tool_return_message' && steps.at(-1)?.tool_call) {
      steps.at(-1).returns = contentOf(message.tool_return);
    }
  }
  return JSON.stringify({ text: userText(entry), ...(entry.refs.agent && { ref: entry.refs.agent }), steps }, null, 2);
}

/** @param {any} content */
const contentOf = (content) => (typeof content === 'string' ? content : (content ?? []).map?.((/** @type {any} */ part) => part.text ?? '').join('') ?? '');

/** @param {any} text */
function parsed(text) {
  try {
    return typeof text === 'string' ? JSON.parse(text) : text;
  } catch {
    return {};
  }
}

/** The request as what a test expects. @param {Entry} entry */
export function expectation(entry) {
  const text = userText(entry);
  const expected = {
    operation: entry.operation,
    ...(agentOf(entry) && { agent: entry.refs.agent ?? entry.agents?.[0] }),
    caller: entry.caller.kind,
    ...(entry.answer?.status && { status: `${entry.answer.status}` }),
    ...(text && { text }),
  };
  return JSON.stringify({ expect: [expected] }, null, 2);
}
