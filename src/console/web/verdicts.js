// Verdicts: what the client did that will hurt it in production, and which words of its policies it never needed.

import { html, useState } from './vendor/htm-preact.js';
import { call, of } from './api.js';
import { Badge, Copy, Empty, Json, Problem, Section, Words, shortId, useAction, useLoad } from './ui.js';

/** @typedef {import('../types.d.ts').Finding} Finding */

const TONES = { error: 'bad', warn: 'warn', info: 'plain' };

/** @param {import('../types.d.ts').ScreenProps} props */
export function Verdicts({ ns, space }) {
  const verdicts = useLoad((signal) => call('GET', `${of(ns)}/verdicts`, undefined, signal), [ns]);
  const { findings = [], coverage } = verdicts.value ?? {};
  /** @type {Map<string, Finding[]>} */
  const byRule = new Map();
  for (const finding of findings) byRule.set(finding.rule, [...(byRule.get(finding.rule) ?? []), finding]);
  const nameOf = (/** @type {string} */ id) => Object.entries(space?.refs ?? {}).find(([, of]) => of === id)?.[0] ?? shortId(id);
  return html`
    <${Problem} error=${verdicts.error} />
    <${Section} title="What the client did" actions=${html`<button class="small" onClick=${verdicts.reload}>Look again</button>`}>
      ${verdicts.value && byRule.size === 0
        ? html`<${Empty} title="Nothing to say"><p>Requests that a real deployment would punish are found here: retried sends, refusals that are sent again, tokens used after their end.</p></${Empty}>`
        : [...byRule].map(([rule, findings]) => html`<${Rule} key=${rule} ns=${ns} rule=${rule} findings=${findings} changed=${verdicts.reload} />`)}
    </${Section}>
    ${coverage && html`<${Coverage} coverage=${coverage} nameOf=${nameOf} />`}`;
}

/** @param {{ ns: string, rule: string, findings: Finding[], changed: () => void }} props */
function Rule({ ns, rule, findings, changed }) {
  const [first] = findings;
  const [reason, setReason] = useState('');
  const [run, isBusy, error] = useAction();
  const allow = (/** @type {Event} */ event) => {
    event.preventDefault();
    run(async () => {
      await call('POST', `${of(ns)}/verdicts/allow`, { rule, reason: reason.trim() });
      changed();
    });
  };
  return html`<article class=${`verdict ${first.allowed ? 'allowed' : first.severity}`}>
    <header><h3>${rule}</h3><${Badge} tone=${first.allowed ? 'plain' : TONES[first.severity]}>${first.allowed ? 'allowed' : first.severity}</${Badge}>
      <span class="quiet">${findings.length === 1 ? 'once' : `${findings.length} times`}</span></header>
    ${findings.map((finding) => html`<p><${Words} text=${finding.sentence} /> <span class="quiet">Seen in ${finding.evidence.map((id, index) => html`${index > 0 ? ', ' : ''}<a href=${`#/requests/${ns}/${id}`}>request ${id}</a>`)}.</span></p>`)}
    <p class="fix"><span class="label">Fix</span> <${Words} text=${first.fix} /></p>
    ${first.allowed
      ? html`<p class="quiet">Allowed: ${first.allowed}</p>`
      : html`<form class="inline" onSubmit=${allow}><input required aria-label=${`Why ${rule} is allowed`} placeholder="Allow it, because…" value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.target.value)} /><button class="small" disabled=${isBusy}>Allow</button></form>`}
    <${Problem} error=${error} />
  </article>`;
}

/** @param {{ coverage: any, nameOf: (id: string) => string }} props */
function Coverage({ coverage, nameOf }) {
  const rows = (coverage.tokens ?? []).flatMap((/** @type {any} */ token) => Object.entries(token.agents ?? {}).map(([agent, words]) => ({ jti: token.jti, agent, .../** @type {any} */ (words) })));
  return html`<${Section} title="Coverage of policies">
    ${rows.length === 0
      ? html`<${Empty} title="No client token was used" />`
      : html`<table class="table"><thead><tr><th scope="col">Token</th><th scope="col">Agent</th><th scope="col">Used</th><th scope="col">Granted and not used</th></tr></thead><tbody>
          ${rows.map((/** @type {any} */ row) => html`<tr><td class="mono quiet">${shortId(row.jti)}</td><td>${nameOf(row.agent)}</td><td>${(row.used ?? []).join(', ') || html`<span class="quiet">nothing</span>`}</td>
            <td>${(row.over_granted ?? []).map((/** @type {string} */ word) => html`<${Badge} tone="warn">${word}</${Badge}> `)}</td></tr>`)}
        </tbody></table>
        ${coverage.smallest_policy && html`<figure class="snippet"><figcaption><span>The smallest policy that would have done</span><${Copy} text=${JSON.stringify(coverage.smallest_policy, null, 2)} /></figcaption><${Json} value=${coverage.smallest_policy} label="The smallest policy" /></figure>`}`}
  </${Section}>`;
}
