// Replies and faults: what agents say in a test, what goes wrong in it, and what of that was never used.

import { html, useMemo, useState } from './vendor/htm-preact.js';
import { call, of } from './api.js';
import { Badge, Choice, Empty, Field, Json, Problem, Section, useAction, useLoad } from './ui.js';

/** @param {import('../types.d.ts').ScreenProps} props */
export function Injected({ ns, about, space }) {
  const hasFaults = about.features.includes('faults');
  const replies = useLoad((signal) => call('GET', `${of(ns)}/replies`, undefined, signal), [ns]);
  const faults = useLoad((signal) => (hasFaults ? call('GET', `${of(ns)}/faults`, undefined, signal) : Promise.resolve({ faults: [] })), [ns]);
  const presets = useLoad((signal) => (hasFaults ? call('GET', `${of(ns)}/faults/presets`, undefined, signal) : Promise.resolve(null)), [ns]);
  return html`
    <${Replies} ns=${ns} loaded=${replies} refs=${space?.refs ?? {}} />
    ${hasFaults && html`<${Faults} ns=${ns} loaded=${faults} presets=${presets.value} />`}`;
}

/** A list of what was injected, each with its use and its JSON. @param {{ ns: string, kind: 'replies' | 'faults', rows: any[], changed: () => void }} props */
function List({ ns, kind, rows, changed }) {
  const [open, setOpen] = useState(/** @type {string | null} */ (null));
  const [run, isBusy, error] = useAction();
  const used = (/** @type {any} */ row) => row.hits ?? row.fired ?? 0;
  const remove = (/** @type {string} */ id) => run(async () => {
    await call('DELETE', `${of(ns)}/${kind}/${encodeURIComponent(id)}`);
    changed();
  });
  return html`<${Problem} error=${error} /><ul class="injected">
    ${rows.map((row) => html`<li key=${row.id}>
      <div class="injected-head">
        <button class="link" aria-expanded=${open === row.id} onClick=${() => setOpen(open === row.id ? null : row.id)}><code>${row.id}</code></button>
        <span class="summary">${kind === 'replies' ? replyInWords(row.definition) : faultInWords(row.definition)}</span>
        <span class="grow"></span>
        ${row.source === 'file' && html`<${Badge}>from the script</${Badge}>`}
        ${used(row) === 0 ? html`<${Badge} tone="warn">unused</${Badge}>` : html`<${Badge} tone="good">${used(row) === 1 ? 'used once' : `used ${used(row)} times`}</${Badge}>`}
        ${row.left !== null && row.left !== undefined && html`<span class="quiet">${row.left} left</span>`}
        ${row.source !== 'file' && html`<button class="small" disabled=${isBusy} onClick=${() => remove(row.id)} aria-label=${`Delete ${row.id}`}>Delete</button>`}
      </div>
      ${open === row.id && html`<${Json} value=${row.definition} label=${row.id} />`}
    </li>`)}
  </ul>`;
}

/** @param {any} definition */
function replyInWords({ user, text, agent, ref, steps = [] }) {
  const said = steps.find((/** @type {any} */ step) => step.assistant)?.assistant;
  const heard = user ? `/${user}/` : text ? `“${text}”` : 'anything';
  return `${agent ?? ref ?? 'any agent'} hears ${heard}${said ? `, says “${said}”` : ''}`;
}

/** @param {any} definition */
function faultInWords({ where = {}, phase, do: parts = {}, preset }) {
  const place = Object.entries(where).map(([name, value]) => `${name} ${value}`).join(', ') || 'every request';
  return `${preset ?? Object.keys(parts).map((part) => part.replaceAll('_', ' ')).join(', ')} on ${place}${phase === 'after' ? ', after it was handled' : ''}`;
}

/** A definition that is being written: a form makes it, and it can be changed by hand. @param {{ made: object, add: (definition: any) => Promise<void>, what: string }} props */
function Draft({ made, add, what }) {
  const text = useMemo(() => JSON.stringify(made, null, 2), [JSON.stringify(made)]);
  const [edited, setEdited] = useState(/** @type {{ of: string, text: string } | null} */ (null));
  const [run, isBusy, error] = useAction();
  const shown = edited?.of === text ? edited.text : text;
  return html`<${Field} label="What is sent" wide hint="Change it as you like."><textarea class="mono" rows=${Math.min(shown.split('\n').length + 1, 16)} spellcheck="false" value=${shown} onInput=${(/** @type {any} */ event) => setEdited({ of: text, text: event.target.value })}></textarea></${Field}>
    <${Problem} error=${error} />
    <div class="bar"><button class="primary" disabled=${isBusy} onClick=${() => run(async () => {
      await add(parse(shown));
      setEdited(null);
    })}>Add the ${what}</button></div>`;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch (problem) {
    throw new Error(`This is not JSON: ${/** @type {Error} */ (problem).message}`);
  }
}

/** @param {{ ns: string, loaded: any, refs: Record<string, string> }} props */
function Replies({ ns, loaded, refs }) {
  const [form, setForm] = useState({ text: '', ref: '', says: '', times: '' });
  const set = (/** @type {string} */ name) => (/** @type {any} */ value) => setForm({ ...form, [name]: value?.target?.value ?? value });
  const made = {
    ...(form.text && { text: form.text }),
    ...(form.ref && { ref: form.ref }),
    ...(Number(form.times) > 0 && { times: Number(form.times) }),
    steps: [{ assistant: form.says || 'Hello.' }],
  };
  const rows = loaded.value?.replies ?? [];
  const agents = Object.entries(refs).filter(([, id]) => id.startsWith('agent-')).map(([name]) => /** @type {[string, string]} */ ([name, name]));
  return html`<${Section} title="Replies" actions=${loaded.value && html`<span class="quiet">Where none matches: ${loaded.value.unmatched === 'refuse' ? 'the turn fails' : 'the text is echoed'}</span>`}>
    <${Problem} error=${loaded.error} />
    ${rows.length === 0 ? html`<${Empty} title="No replies"><p>Agents echo what they hear. A reply says something else.</p></${Empty}>` : html`<${List} ns=${ns} kind="replies" rows=${rows} changed=${loaded.reload} />`}
    <details class="add"><summary>Add a reply</summary>
      <div class="bar">
        <${Field} label="When the user's text contains"><input value=${form.text} placeholder="weather" onInput=${set('text')} /></${Field}>
        ${agents.length > 0 && html`<${Field} label="Agent"><${Choice} label="Agent" value=${form.ref} onChange=${set('ref')} options=${[['', 'any'], ...agents]} /></${Field}>`}
        <${Field} label="The agent says" wide><input value=${form.says} placeholder="It is sunny." onInput=${set('says')} /></${Field}>
        <${Field} label="How often"><input type="number" min="1" placeholder="always" value=${form.times} onInput=${set('times')} /></${Field}>
      </div>
      <${Draft} what="reply" made=${made} add=${async (/** @type {any} */ definition) => {
        await call('POST', `${of(ns)}/replies`, definition);
        loaded.reload();
      }} />
    </details>
  </${Section}>`;
}

/** Faults to begin with. @type {[string, string, object][]} */
const KINDS = [
  ['cut', 'the stream breaks off', { cut: { at: { frame: 3 }, how: 'reset' } }],
  ['clean', 'the stream ends early, as if whole', { cut: { at: { frame: 3 }, how: 'clean' } }],
  ['stall', 'the stream stops moving', { stall: { at: { frame: 2 }, for: '30s' } }],
  ['slow', 'frames come slowly', { frame_delay: '300ms', jitter: '200ms' }],
  ['busy', 'a 409: the conversation is busy', { status: 409 }],
  ['limited', 'a 429 with Retry-After', { status: 429, headers: { 'retry-after': '2' } }],
  ['failed', 'a 500', { status: 500 }],
  ['expire', 'the token expires', { token: 'expire' }],
  ['error', 'an error event in mid-stream', { error_event: { at: { frame: 2 }, status: 500 } }],
  ['slice', 'the same bytes in other pieces', { slice: { bytes: 7 } }],
];

/** @param {{ ns: string, loaded: any, presets: any }} props */
function Faults({ ns, loaded, presets }) {
  const names = Object.keys(presets?.presets ?? {});
  const [form, setForm] = useState({ kind: 'cut', operation: 'StreamMessage', nth: '', phase: 'before' });
  const set = (/** @type {string} */ name) => (/** @type {any} */ value) => setForm({ ...form, [name]: value?.target?.value ?? value });
  const kind = KINDS.find(([id]) => id === form.kind);
  const made = {
    ...(form.operation && { where: { operation: form.operation } }),
    ...(Number(form.nth) > 0 && { when: { nth: [Number(form.nth)] } }),
    ...(form.phase === 'after' && { phase: 'after' }),
    ...(kind ? { do: kind[2] } : { preset: form.kind }),
  };
  const rows = loaded.value?.faults ?? [];
  return html`<${Section} title="Faults">
    <${Problem} error=${loaded.error} />
    ${rows.length === 0 ? html`<${Empty} title="No faults"><p>Everything works. A fault shows what a page does when something does not.</p></${Empty}>` : html`<${List} ns=${ns} kind="faults" rows=${rows} changed=${loaded.reload} />`}
    <details class="add"><summary>Add a fault</summary>
      <div class="bar">
        <${Field} label="What goes wrong"><${Choice} label="What goes wrong" value=${form.kind} onChange=${set('kind')} options=${[...KINDS.map(([id, text]) => [id, text]), ...names.map((name) => [name, `preset: ${name}`])]} /></${Field}>
        <${Field} label="Operation"><input value=${form.operation} placeholder="every request" onInput=${set('operation')} /></${Field}>
        <${Field} label="Which request"><input type="number" min="1" placeholder="each" value=${form.nth} onInput=${set('nth')} /></${Field}>
        <${Field} label="When"><${Choice} label="When" value=${form.phase} onChange=${set('phase')} options=${[['before', 'before it is handled'], ['after', 'after: its effects stay']]} /></${Field}>
      </div>
      <${Draft} what="fault" made=${made} add=${async (/** @type {any} */ definition) => {
        await call('POST', `${of(ns)}/faults`, definition);
        loaded.reload();
      }} />
    </details>
  </${Section}>`;
}
