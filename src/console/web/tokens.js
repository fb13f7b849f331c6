// Tokens and keys: which client tokens live, for how long, and what they may do.

import { html, useState } from './vendor/htm-preact.js';
import { call, letta, of } from './api.js';
import { Badge, Copy, Empty, Problem, Section, shortId, span, useAction, useLoad, useNow } from './ui.js';

/** The claims of a client token, read in this page. Nothing is sent anywhere. @param {string} token */
export function decode(token) {
  const match = /^ck-let-[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token.trim());
  if (!match) return null;
  try {
    const bytes = Uint8Array.from(atob(match[1].replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** @param {import('../types.d.ts').ScreenProps} props */
export function Tokens({ ns, space }) {
  const tokens = useLoad(() => letta(ns, '/v1/client-side-access-tokens?limit=100'), [ns]);
  const [run, isBusy, error] = useAction();
  const now = useNow() + (space?.clock.offset_ms ?? 0);
  const at = space?.clock.frozen ? Date.parse(space.clock.now) : now;
  const nameOf = (/** @type {string} */ id) => Object.entries(space?.refs ?? {}).find(([, of]) => of === id)?.[0];
  const end = (/** @type {string} */ id, /** @type {'expire' | 'revoke'} */ how) =>
    run(async () => {
      await call('POST', `${of(ns)}/tokens/${encodeURIComponent(id)}/${how}`);
      tokens.reload();
    });
  const list = /** @type {any[]} */ (tokens.value?.tokens ?? []);
  return html`
    <${Problem} error=${tokens.error ?? error} />
    <${Section} title="Client tokens" actions=${html`<button class="small" onClick=${tokens.reload}>Look again</button>`}>
      ${tokens.value && list.length === 0
        ? html`<${Empty} title="No client token lives here"><p>A back end creates them with the namespace's key. <a href="#/playground">The playground</a> writes that code.</p></${Empty}>`
        : html`<table class="table"><thead><tr><th scope="col">Token</th><th scope="col">Origin</th><th scope="col">Policy</th><th scope="col">Left</th><th scope="col"><span class="sr">Actions</span></th></tr></thead><tbody>
            ${list.map((token) => {
              const id = decode(token.token)?.jti ?? '';
              const left = Date.parse(token.expiresAt) - at;
              return html`<tr>
                <th scope="row">${nameOf(id) ?? html`<span class="mono" title=${id}>${shortId(id)}</span>`}</th>
                <td>${token.hostname ?? html`<span class="quiet">any</span>`}</td>
                <td>${token.policy.data.map((/** @type {any} */ entry) => html`<div>${nameOf(entry.id) ?? shortId(entry.id)}: ${entry.access.join(', ')}</div>`)}</td>
                <td class="mono">${left > 0 ? span(left) : html`<${Badge} tone="warn">expired</${Badge}>`}</td>
                <td class="end"><${Copy} text=${token.token}>Copy</${Copy}>
                  <button class="small" disabled=${isBusy} onClick=${() => end(id, 'expire')}>Expire</button>
                  <button class="small" disabled=${isBusy} onClick=${() => end(id, 'revoke')}>Revoke</button></td>
              </tr>`;
            })}
          </tbody></table>`}
    </${Section}>
    <${Section} title="Keys">
      <dl class="facts-of wide">
        <dt>API key of this namespace</dt>
        <dd>${space?.key_id ? html`<span class="mono">${space.key_id}</span> <span class="quiet">It was shown when the namespace was made.</span>` : html`<span class="quiet">It has none of its own; the server's keys are used.</span>`}</dd>
      </dl>
    </${Section}>
    <${Decoder} nameOf=${nameOf} at=${at} />`;
}

/** @param {{ nameOf: (id: string) => string | undefined, at: number }} props */
function Decoder({ nameOf, at }) {
  const [text, setText] = useState('');
  const claims = decode(text);
  return html`<${Section} title="Read a token">
    <label class="field wide"><span class="label">Token</span>
      <textarea rows="3" spellcheck="false" autocomplete="off" placeholder="ck-let-…" value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)}></textarea>
      <span class="hint">It is read in this page, and neither sent nor stored.</span></label>
    ${text.trim() && !claims && html`<p class="problem">This is not the form of a client token: <code>ck-let-</code> and three parts with dots between them.</p>`}
    ${claims && html`<dl class="facts-of wide">
      <dt>Id</dt><dd class="mono">${claims.jti}</dd>
      <dt>Origin</dt><dd>${claims.org}</dd>
      <dt>Issued</dt><dd class="mono">${instant(claims.iat)}</dd>
      <dt>Ends</dt><dd class="mono">${instant(claims.exp)} ${claims.exp * 1000 < at ? html`<${Badge} tone="warn">expired</${Badge}>` : html`<span class="quiet">in ${span(claims.exp * 1000 - at)}</span>`}</dd>
      ${(claims.pol ?? []).map((/** @type {any} */ [agent, words]) => html`<dt>Policy</dt><dd>${nameOf(agent) ?? agent}: ${wordsOf(words).join(', ')}</dd>`)}
    </dl>`}
  </${Section}>`;
}

/** The words of a policy, in the order of the bits in which the token's claims have them. */
export const WORDS = ['read_messages', 'write_messages', 'read_agent', 'write_agent'];

/** @param {number | string[]} words */
const wordsOf = (words) => (Array.isArray(words) ? words : WORDS.filter((_, bit) => words & (1 << bit)));

/** @param {number} seconds */
const instant = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
