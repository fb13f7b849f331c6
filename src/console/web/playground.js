// The playground: which operations a token, or a policy, opens; a request tried with or without sending it; the code.

import { html, useEffect, useMemo, useState } from './vendor/htm-preact.js';
import { attempt, call, letta, of } from './api.js';
import { Steps } from './request.js';
import { page, python, typescript } from './snippets.js';
import { WORDS, decode } from './tokens.js';
import { Badge, Choice, Empty, Field, Json, Problem, Rows, Section, Snippet, shortId, useAction, useLoad } from './ui.js';

/** @typedef {import('../types.d.ts').PolicyEntry} PolicyEntry */

/** @param {import('../types.d.ts').ScreenProps} props */
export function Playground({ ns, space, about }) {
  const [kind, setKind] = useState('policy');
  const [token, setToken] = useState('');
  const [granted, setGranted] = useState(/** @type {Record<string, string[]>} */ ({}));
  const [origin, setOrigin] = useState('http://localhost:3000');
  const agents = useLoad(() => letta(ns, '/v1/agents/?limit=50'), [ns]);
  const list = /** @type {import('../types.d.ts').AgentView[]} */ (agents.value ?? []);
  useEffect(() => {
    if (list.length && Object.keys(granted).length === 0) setGranted({ [list[0].id]: ['read_messages', 'write_messages'] });
  }, [list.length]);
  const policy = useMemo(() => WORDED(granted), [granted]);
  const claims = decode(token);
  const isToken = kind === 'token';
  const caller = isToken ? { token: token.trim(), origin: origin || undefined } : { policy, hostname: origin, origin };
  const isComplete = isToken ? claims !== null : policy.length > 0 && origin !== '';
  const verdicts = useLoad(() => (about.features.includes('verdicts') ? call('GET', `${of(ns)}/verdicts?min=error`) : Promise.resolve(null)), [ns]);
  const smallest = verdicts.value?.coverage?.smallest_policy;
  const toggle = (/** @type {string} */ id, /** @type {string} */ word) => {
    const words = granted[id] ?? [];
    setGranted({ ...granted, [id]: words.includes(word) ? words.filter((each) => each !== word) : WORDS.filter((each) => each === word || words.includes(each)) });
  };
  const take = () => setGranted(Object.fromEntries(smallest.map((/** @type {PolicyEntry} */ entry) => [entry.id, entry.access])));
  return html`
    <${Section} title="Who calls">
      <div class="bar">
        <div class="switch" role="group" aria-label="What to look at">
          <button aria-pressed=${!isToken} onClick=${() => setKind('policy')}>A policy</button>
          <button aria-pressed=${isToken} onClick=${() => setKind('token')}>A token</button>
        </div>
        <${Field} label=${isToken ? 'Origin of the page' : 'Origin that the token is bound to'}>
          <input value=${origin} spellcheck="false" placeholder="http://localhost:3000" onInput=${(/** @type {any} */ event) => setOrigin(event.target.value.trim())} />
        </${Field}>
        ${!isToken && smallest?.length > 0 && html`<button class="small" onClick=${take} title="From the requests in the journal">Use the smallest policy that was needed</button>`}
      </div>
      <${Problem} error=${agents.error} />
      ${isToken
        ? html`<label class="field wide"><span class="label">Token</span>
            <textarea rows="3" spellcheck="false" autocomplete="off" placeholder="ck-let-…" value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)}></textarea>
            <span class="hint">It goes to this server alone, to be checked, and is not stored.</span></label>
            ${token && !claims && html`<p class="problem">This is not the form of a client token.</p>`}`
        : list.length === 0
          ? agents.value && html`<${Empty} title="No agents"><p><a href="#/agents">Create one</a> to build a policy.</p></${Empty}>`
          : html`<table class="table grants"><thead><tr><th scope="col">Agent</th>${WORDS.map((word) => html`<th scope="col">${word}</th>`)}</tr></thead><tbody>
              ${list.map((agent) => html`<tr><th scope="row">${agent.name} <span class="quiet mono">${shortId(agent.id)}</span></th>
                ${WORDS.map((word) => html`<td><input type="checkbox" aria-label=${`${word} on ${agent.name}`} checked=${(granted[agent.id] ?? []).includes(word)} onChange=${() => toggle(agent.id, word)} /></td>`)}</tr>`)}
            </tbody></table>`}
    </${Section}>
    ${isComplete && html`
      <${Try} ns=${ns} caller=${caller} isToken=${isToken} policy=${policy} origin=${origin} agent=${isToken ? claims?.pol?.[0]?.[0] : policy[0]?.id} />
      <${Operations} ns=${ns} caller=${caller} />
      ${!isToken && html`<${Section} title="The code">
        <div class="snippets">
          <${Snippet} title="Back end, TypeScript" text=${typescript(policy, origin, location.origin)} />
          <${Snippet} title="Back end, Python" text=${python(policy, origin, location.origin)} />
          <${Snippet} title="Page" text=${page(policy, location.origin)} />
        </div>
      </${Section}>`}`}`;
}

/** A policy of what is ticked. @param {Record<string, string[]>} granted @returns {PolicyEntry[]} */
const WORDED = (granted) =>
  Object.entries(granted).filter(([, access]) => access.length > 0).map(([id, access]) => ({ type: /** @type {const} */ ('agent'), id, access }));

/** @param {{ ns: string, caller: any }} props */
function Operations({ ns, caller }) {
  const [shown, setShown] = useState('open');
  const [text, setText] = useState('');
  const answer = useLoad(() => call('POST', `${of(ns)}/explain`, { ...caller, operations: true }), [ns, JSON.stringify(caller)]);
  const all = /** @type {any[]} */ (answer.value?.operations ?? []);
  const rows = all.filter(
    (row) => (shown === 'all' || row.open === (shown === 'open')) && `${row.operation} ${row.method} ${row.template}`.toLowerCase().includes(text.toLowerCase()),
  );
  const open = all.filter((row) => row.open).length;
  return html`<${Section} title="Operations" actions=${html`
      <input type="search" aria-label="Find an operation" placeholder="Find an operation" value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)} />
      <${Choice} label="Which operations" value=${shown} onChange=${setShown} options=${[['open', `open (${open})`], ['shut', `shut (${all.length - open})`], ['all', 'all']]} />`}>
    <${Problem} error=${answer.error} />
    <div class="operations"><${Rows} label="Operations" rows=${rows} height=${44} keyOf=${(/** @type {any} */ row) => row.operation}
      head=${['', 'Operation', 'Condition'].map((title) => html`<span role="columnheader">${title || html`<span class="sr">Open or shut</span>`}</span>`)}
      row=${(/** @type {any} */ row) => html`
        <span role="cell"><${Badge} tone=${row.open ? 'good' : 'plain'}>${row.open ? 'open' : 'shut'}</${Badge}></span>
        <span role="cell" class="what"><b>${row.operation}</b><span class="mono quiet">${row.method} ${row.template}</span></span>
        <span role="cell" class="condition" title=${row.condition ?? row.why}>${row.condition ?? row.why}</span>`} /></div>
  </${Section}>`;
}

/** Requests to begin with. @param {string} agent @returns {[string, string, string, unknown][]} */
const EXAMPLES = (agent) => [
  ['Send a message', 'POST', `/v1/agents/${agent}/messages/stream`, { messages: [{ role: 'user', content: 'Hello' }], streaming: true, stream_tokens: true }],
  ['List messages', 'GET', `/v1/agents/${agent}/messages`, undefined],
  ['Read the agent', 'GET', `/v1/agents/${agent}`, undefined],
  ['Change the agent', 'PATCH', `/v1/agents/${agent}`, { name: 'renamed' }],
  ['List all agents', 'GET', '/v1/agents/', undefined],
];

/** @param {{ ns: string, caller: any, isToken: boolean, policy: PolicyEntry[], origin: string, agent?: string }} props */
function Try({ ns, caller, isToken, policy, origin, agent = '' }) {
  const examples = EXAMPLES(agent);
  const [example, setExample] = useState('0');
  const [request, setRequest] = useState(() => filled(examples[0]));
  const [explained, setExplained] = useState(/** @type {any} */ (null));
  const [sent, setSent] = useState(/** @type {any} */ (null));
  const [run, isBusy, error] = useAction();
  useEffect(() => setRequest(filled(EXAMPLES(agent)[Number(example)])), [agent]);
  const set = (/** @type {string} */ name) => (/** @type {any} */ value) => setRequest({ ...request, [name]: value?.target?.value ?? value });
  const parts = () => {
    const { method, path, body } = request;
    try {
      return { method, path: path.trim(), body: body.trim() && method !== 'GET' ? JSON.parse(body) : undefined };
    } catch (problem) {
      throw new Error(`The body is not JSON: ${/** @type {Error} */ (problem).message}`);
    }
  };
  const explain = () => run(async () => {
    setSent(null);
    setExplained(await call('POST', `${of(ns)}/explain`, { ...caller, ...parts() }));
  });
  const send = () => run(async () => {
    setExplained(null);
    const { method, path, body } = parts();
    // A policy is no token: one is issued for the moment, as the back end would.
    const token = isToken
      ? caller.token
      : (await letta(ns, '/v1/client-side-access-tokens', 'POST', { hostname: origin, policy, expires_at: undefined })).token;
    const response = await attempt(ns, { method, path, body, token, origin: origin || undefined });
    const result = { status: response.status, entry: response.headers.get('x-gatelet-entry'), text: '' };
    setSent({ ...result });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: '' };
      if (done) break;
      result.text += value;
      setSent({ ...result, text: result.text.slice(0, 200_000) });
    }
    setSent({ ...result, text: pretty(result.text.slice(0, 200_000)), isDone: true });
  });
  return html`<${Section} title="Try a request">
    <div class="bar">
      <${Field} label="Begin with"><${Choice} label="Begin with" value=${example} onChange=${(/** @type {string} */ chosen) => (setExample(chosen), setRequest(filled(examples[Number(chosen)])))} options=${examples.map(([title], index) => [`${index}`, title])} /></${Field}>
      <${Field} label="Method"><${Choice} label="Method" value=${request.method} onChange=${set('method')} options=${['GET', 'POST', 'PATCH', 'PUT', 'DELETE'].map((method) => [method, method])} /></${Field}>
      <${Field} label="Path" wide><input class="mono" spellcheck="false" value=${request.path} onInput=${set('path')} /></${Field}>
    </div>
    ${request.method !== 'GET' && html`<${Field} label="Body" wide><textarea class="mono" rows="9" spellcheck="false" value=${request.body} onInput=${set('body')}></textarea></${Field}>`}
    <div class="bar"><button disabled=${isBusy} onClick=${explain}>Explain without sending</button><button class="primary" disabled=${isBusy} onClick=${send}>Send</button></div>
    <${Problem} error=${error} />
    ${explained && html`<div class="outcome" role="status">
      <p><${Badge} tone=${explained.outcome === 'denied' ? 'bad' : 'good'}>${explained.outcome === 'denied' ? `${explained.status} ${explained.code}` : 'admitted'}</${Badge}> ${explained.message ?? 'The guard would let it through.'}</p>
      <${Steps} steps=${explained.steps} isRefused=${explained.outcome === 'denied'} /></div>`}
    ${sent && html`<div class="outcome" role="status">
      <p><${Badge} tone=${sent.status < 400 ? 'good' : 'bad'}>${sent.status}</${Badge}> ${sent.entry && html`<a href=${`#/requests/${sent.entry}`}>request ${sent.entry}</a>`}</p>
      ${sent.text && html`<${Json} value=${sent.text} label="Response" />`}</div>`}
  </${Section}>`;
}

/** @param {[string, string, string, unknown]} example */
const filled = ([, method, path, body]) => ({ method, path, body: body === undefined ? '' : JSON.stringify(body, null, 2) });

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
