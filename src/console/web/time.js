// Time: the clock of a namespace, what waits for it, and snapshots to go back to.

import { html, useState } from './vendor/htm-preact.js';
import { call, of } from './api.js';
import { Badge, Choice, Empty, Field, Problem, Section, size, span, useAction, useLoad, useNow } from './ui.js';

/** @param {import('../types.d.ts').ScreenProps & { isInstance: boolean }} props */
export function Time({ ns, space, isInstance, refresh }) {
  const clock = useLoad((signal) => call('GET', `${of(ns)}/clock`, undefined, signal), [ns]);
  const [run, isBusy, error] = useAction();
  const [result, setResult] = useState(/** @type {any} */ (null));
  const [instant, setInstant] = useState('');
  useNow();
  const isPersistent = Boolean(space?.persistent);
  const value = /** @type {import('../types.d.ts').Clock | null} */ (clock.value);
  const now = value && (value.frozen ? Date.parse(value.now) : Date.now() + value.offset_ms);
  const change = (/** @type {() => Promise<any>} */ action) => run(async () => {
    setResult(await action());
    clock.reload();
  });
  const advance = (/** @type {object} */ by) => change(() => call('POST', `${of(ns)}/clock/advance`, by));
  const set = (/** @type {object} */ settings) => change(async () => (await call('PUT', `${of(ns)}/clock`, settings), null));
  return html`
    <${Problem} error=${clock.error ?? error} />
    ${isPersistent && html`<p class="note">This namespace is stored on disk, so its clock is the real one. Create a namespace to move time.</p>`}
    ${value && now && html`
      <${Section} title="Clock">
        <div class="clock">
          <time class="now" datetime=${new Date(now).toISOString()}>${new Date(now).toISOString().replace('T', ' ').slice(0, 19)} <span class="quiet">UTC</span></time>
          <${Badge} tone=${value.frozen ? 'busy' : 'plain'}>${value.frozen ? 'frozen' : 'running'}</${Badge}>
          ${value.offset_ms !== 0 && html`<span class="quiet">${value.offset_ms > 0 ? `${span(value.offset_ms)} ahead` : `${span(-value.offset_ms)} behind`}</span>`}
        </div>
        ${!isPersistent && html`
        <div class="bar">
          ${[['10s', '+10 s'], ['1m', '+1 min'], ['5m', '+5 min'], ['1h', '+1 h'], ['1d', '+1 day']].map(([by, text]) => html`<button disabled=${isBusy} onClick=${() => advance({ by })}>${text}</button>`)}
          <button class="primary" disabled=${isBusy || value.pending.length === 0} onClick=${() => advance({ to: 'next' })}>To the next timer</button>
          <span class="grow"></span>
          <button disabled=${isBusy} onClick=${() => set({ frozen: !value.frozen })}>${value.frozen ? 'Let it run' : 'Freeze'}</button>
        </div>
        <form class="bar" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), set({ now: instant.trim() }))}>
          <${Field} label="Set it to" hint="Forward only. A snapshot takes it back."><span class="inline"><input required value=${instant} placeholder="2030-01-05T09:00:00Z" pattern="\\d{4}-\\d\\d-\\d\\dT.*" onInput=${(/** @type {any} */ event) => setInstant(event.target.value)} /><button disabled=${isBusy}>Set</button></span></${Field}>
          <${Field} label="Pauses of replies" hint="virtual: they end when the clock is advanced. instant: they take no time.">
            <${Choice} label="Pauses of replies" value=${value.timers} onChange=${(/** @type {string} */ timers) => set({ timers })} options=${['real', 'virtual', 'instant'].map((word) => [word, word])} />
          </${Field}>
        </form>`}
        ${result && html`<p class="note" role="status">${result.fired?.length ? `Fired: ${result.fired.map((/** @type {any} */ timer) => timer.kind.replace('_', ' ')).join(', ')}.` : 'Nothing was due.'}${result.settled === false ? ' Some tasks are still running.' : ''}</p>`}
      </${Section}>
      <${Section} title="Pending">
        ${value.pending.length === 0
          ? html`<${Empty} title="Nothing waits for the clock"><p>Tokens that will expire, and pauses of replies, are listed here.</p></${Empty}>`
          : html`<table class="table"><thead><tr><th scope="col">Due</th><th scope="col">In</th><th scope="col">What</th><th scope="col">Id</th></tr></thead><tbody>
              ${value.pending.map((timer) => html`<tr><td class="mono">${timer.due.slice(0, 19).replace('T', ' ')}</td><td class="mono">${span(Date.parse(timer.due) - now)}</td><td>${timer.kind.replace('_', ' ')}</td><td class="mono quiet">${timer.id}</td></tr>`)}
            </tbody></table>`}
      </${Section}>`}
    ${!isPersistent && html`<${Snapshots} ns=${ns} isInstance=${isInstance} refresh=${refresh} restored=${clock.reload} />`}`;
}

/** @param {{ ns: string, isInstance: boolean, refresh: () => void, restored: () => void }} props */
function Snapshots({ ns, isInstance, refresh, restored }) {
  const list = useLoad((signal) => call('GET', `${of(ns)}/snapshots`, undefined, signal), [ns]);
  const [name, setName] = useState('');
  const [run, isBusy, error] = useAction();
  const [said, setSaid] = useState('');
  const path = (/** @type {string} */ name) => `${of(ns)}/snapshots/${encodeURIComponent(name)}`;
  const change = (/** @type {() => Promise<string>} */ action) => run(async () => {
    setSaid(await action());
    list.reload();
  });
  const snapshots = list.value?.snapshots ?? [];
  const take = (/** @type {Event} */ event) => {
    event.preventDefault();
    change(async () => {
      await call('PUT', path(name.trim()));
      setName('');
      return `Taken: ${name.trim()}.`;
    });
  };
  const restore = (/** @type {string} */ name) => change(async () => {
    await call('POST', `${path(name)}/restore`);
    restored();
    return `Everything is as it was in ${name}. Tokens issued since are revoked.`;
  });
  const fork = (/** @type {string} */ name) => change(async () => {
    const made = await call('POST', `${of(ns)}/fork`, { snapshot: name });
    refresh();
    return `The namespace ${made.name} begins as ${name} was. Choose it above.`;
  });
  return html`<${Section} title="Snapshots" actions=${html`<form class="inline" onSubmit=${take}>
      <input required aria-label="Name of the snapshot" placeholder="before-the-test" pattern="[a-z0-9][a-z0-9._\\-]*" value=${name} onInput=${(/** @type {any} */ event) => setName(event.target.value)} />
      <button disabled=${isBusy}>Take a snapshot</button></form>`}>
    <${Problem} error=${list.error ?? error} />
    ${said && html`<p class="note" role="status">${said}</p>`}
    ${snapshots.length === 0
      ? html`<${Empty} title="No snapshots"><p>A snapshot keeps everything in the namespace, its clock and its tokens, to return to.</p></${Empty}>`
      : html`<table class="table"><thead><tr><th scope="col">Name</th><th scope="col">Its time</th><th scope="col">Contains</th><th scope="col">Size</th><th scope="col"><span class="sr">Actions</span></th></tr></thead><tbody>
          ${snapshots.map((/** @type {any} */ each) => html`<tr><th scope="row">${each.name}</th><td class="mono">${each.now.slice(0, 19).replace('T', ' ')}</td>
            <td>${counts(each.counts)}</td><td class="mono">${size(each.bytes)}</td>
            <td class="end"><button class="small" disabled=${isBusy} onClick=${() => restore(each.name)}>Restore</button>
              ${isInstance && html`<button class="small" disabled=${isBusy} onClick=${() => fork(each.name)}>Fork from here</button>`}
              <button class="small" disabled=${isBusy} onClick=${() => change(async () => (await call('DELETE', path(each.name)), `Deleted: ${each.name}.`))}>Delete</button></td></tr>`)}
        </tbody></table>`}
  </${Section}>`;
}

/** What is in a namespace, in words. @param {Record<string, number>} counts */
export function counts(counts) {
  const shown = ['agent', 'message', 'run', 'client_token'].filter((kind) => counts[kind]);
  if (shown.length === 0) return 'nothing';
  return shown.map((kind) => `${counts[kind]} ${kind.replace('client_', '')}${counts[kind] === 1 ? '' : 's'}`).join(', ');
}
