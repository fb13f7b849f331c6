// Agents: what they remember and said; and a box to talk to one as a page with a token of chosen words would.

import { html, useEffect, useRef, useState } from './vendor/htm-preact.js';
import { attempt, events, letta, refusal } from './api.js';
import { WORDS } from './tokens.js';
import { Badge, Empty, Field, Problem, Section, clockTime, shortId, useAction, useLoad } from './ui.js';

/** @typedef {import('../types.d.ts').AgentView} AgentView */

/** @param {import('../types.d.ts').ScreenProps} props */
export function Agents({ ns, space, rest, refresh }) {
  const agents = useLoad(() => letta(ns, '/v1/agents/?limit=100'), [ns]);
  const list = /** @type {AgentView[]} */ (agents.value ?? []);
  const chosen = list.find((agent) => agent.id === rest[0]) ?? list[0];
  const [run, isBusy, error] = useAction();
  const create = () => run(async () => {
    await letta(ns, '/v1/agents/', 'POST', { name: 'demo', model: 'openai/gpt-4o-mini', memory_blocks: [{ label: 'human', value: 'Name: Ada' }, { label: 'persona', value: 'I am a friendly assistant.' }] });
    agents.reload();
    refresh();
  });
  if (!agents.value) return html`<${Problem} error=${agents.error} />`;
  if (!chosen)
    return html`<${Empty} title="No agents yet"><p>Your back end creates agents with its key, or a seed does. To see how it feels, begin with a small one:</p>
      <p><button class="primary" disabled=${isBusy} onClick=${create}>Create a demo agent</button></p><${Problem} error=${error} /></${Empty}>`;
  return html`<div class="agents">
    <nav class="agent-list" aria-label="Agents">
      ${list.map((agent) => {
        const ref = Object.entries(space?.refs ?? {}).find(([, id]) => id === agent.id)?.[0];
        return html`<a href=${`#/agents/${agent.id}`} aria-current=${agent.id === chosen.id ? 'true' : undefined}><b>${agent.name}</b><span class="quiet mono">${ref && ref !== agent.name ? `${ref} · ` : ''}${shortId(agent.id)}</span></a>`;
      })}
    </nav>
    <${Agent} key=${chosen.id} ns=${ns} agent=${chosen} />
  </div>`;
}

/** @param {{ ns: string, agent: AgentView }} props */
function Agent({ ns, agent }) {
  const path = `/v1/agents/${agent.id}`;
  const blocks = useLoad(() => letta(ns, `${path}/core-memory/blocks`), [agent.id]);
  const messages = useLoad(() => letta(ns, `${path}/messages?limit=50&order=desc`), [agent.id]);
  const runs = useLoad(() => letta(ns, `/v1/runs/?agent_id=${agent.id}&limit=20`), [agent.id]);
  const reload = () => [blocks, messages, runs].forEach((each) => each.reload());
  return html`<div class="agent">
    <${Chat} ns=${ns} agent=${agent} done=${reload} />
    <${Section} title="Memory">
      <${Problem} error=${blocks.error} />
      ${(blocks.value ?? []).length === 0
        ? html`<p class="quiet">No memory blocks.</p>`
        : html`<div class="blocks">${blocks.value.map((/** @type {any} */ block) => html`<article class="block"><h3>${block.label}</h3><p>${block.value || html`<span class="quiet">empty</span>`}</p><span class="quiet">${block.value.length} of ${block.limit} characters</span></article>`)}</div>`}
    </${Section}>
    <${Section} title="Messages" actions=${html`<button class="small" onClick=${reload}>Look again</button>`}>
      <${Problem} error=${messages.error} />
      ${(messages.value ?? []).length === 0
        ? html`<p class="quiet">No messages.</p>`
        : html`<ol class="messages">${messages.value.map((/** @type {any} */ message) => html`<li><span class="mono quiet">${clockTime(message.date)}</span><span class="kind">${message.message_type.replace('_message', '').replaceAll('_', ' ')}</span><span class="text"><${Text} text=${textOf(message)} /></span></li>`)}</ol>`}
    </${Section}>
    <${Section} title="Runs">
      <${Problem} error=${runs.error} />
      ${(runs.value ?? []).length === 0
        ? html`<p class="quiet">No runs.</p>`
        : html`<table class="table"><thead><tr><th scope="col">Run</th><th scope="col">Began</th><th scope="col">Status</th><th scope="col">Stopped because</th></tr></thead><tbody>
            ${runs.value.map((/** @type {any} */ run) => html`<tr><td class="mono">${shortId(run.id)}</td><td class="mono">${clockTime(run.created_at)}</td><td><${Badge} tone=${run.status === 'failed' ? 'bad' : run.status === 'completed' ? 'good' : 'plain'}>${run.status}</${Badge}></td><td>${(run.stop_reason ?? '').replaceAll('_', ' ')}</td></tr>`)}
          </tbody></table>`}
    </${Section}>
  </div>`;
}

/** A text; a long one is folded. @param {{ text: string }} props */
const Text = ({ text }) =>
  text.length < 400 ? text : html`<details><summary>${text.trim().split('\n')[0].slice(0, 80)}… (${text.length} characters)</summary>${text}</details>`;

/** @param {any} message */
function textOf(message) {
  const { content, reasoning, tool_call, tool_return } = message;
  if (tool_call) return `${tool_call.name}(${tool_call.arguments ?? ''})`;
  const text = content ?? reasoning ?? tool_return ?? '';
  return typeof text === 'string' ? text : text.map?.((/** @type {any} */ part) => part.text ?? `[${part.type}]`).join('') ?? JSON.stringify(text);
}

/** @param {{ ns: string, agent: AgentView, done: () => void }} props */
function Chat({ ns, agent, done }) {
  const [words, setWords] = useState(['read_messages', 'write_messages']);
  const [origin, setOrigin] = useState('http://localhost:3000');
  const [text, setText] = useState('');
  const [turns, setTurns] = useState(/** @type {any[]} */ ([]));
  const [isBusy, setBusy] = useState(false);
  const log = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => log.current?.scrollTo({ top: log.current.scrollHeight }), [turns]);
  const change = (/** @type {(turn: any) => void} */ edit) =>
    setTurns((/** @type {any[]} */ turns) => {
      const last = { ...turns.at(-1) };
      edit(last);
      return [...turns.slice(0, -1), last];
    });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const sent = text.trim();
    if (!sent || isBusy) return;
    setText('');
    setBusy(true);
    setTurns((/** @type {any[]} */ turns) => [...turns, { sent, said: [], entry: null, error: null }]);
    try {
      const { token } = await letta(ns, '/v1/client-side-access-tokens', 'POST', { hostname: origin, policy: [{ type: 'agent', id: agent.id, access: words }] });
      const body = { messages: [{ role: 'user', content: sent }], streaming: true, stream_tokens: true };
      const response = await attempt(ns, { method: 'POST', path: `/v1/agents/${agent.id}/messages/stream`, body, token, origin });
      change((turn) => (turn.entry = response.headers.get('x-gatelet-entry')));
      if (!response.ok) throw await refusal(response);
      for await (const { data } of events(response)) {
        if (data === '[DONE]') break;
        const message = JSON.parse(data);
        const kind = message.message_type;
        if (message.error || kind === 'error_message') throw new Error(message.message ?? message.error?.message ?? 'The turn failed.');
        if (!['assistant_message', 'reasoning_message', 'tool_call_message', 'tool_return_message', 'approval_request_message'].includes(kind)) continue;
        change((turn) => {
          const last = turn.said.at(-1);
          if (last?.id === message.id && last.kind === kind) turn.said = [...turn.said.slice(0, -1), { ...last, text: last.text + textOf(message) }];
          else turn.said = [...turn.said, { id: message.id, kind, text: textOf(message) }];
        });
      }
    } catch (error) {
      change((turn) => (turn.error = error));
    }
    setBusy(false);
    done();
  };
  const toggle = (/** @type {string} */ word) => setWords(words.includes(word) ? words.filter((each) => each !== word) : WORDS.filter((each) => each === word || words.includes(each)));
  return html`<${Section} title=${`Talk to ${agent.name}`}>
    <div class="bar as">
      <fieldset class="words"><legend>As a page whose token grants</legend>
        ${WORDS.map((word) => html`<label><input type="checkbox" checked=${words.includes(word)} onChange=${() => toggle(word)} /> ${word}</label>`)}
      </fieldset>
      <${Field} label="From the origin"><input value=${origin} spellcheck="false" onInput=${(/** @type {any} */ event) => setOrigin(event.target.value.trim())} /></${Field}>
    </div>
    ${turns.length > 0 && html`<div class="chat" ref=${log} tabindex="0" role="log" aria-label="Conversation">
      ${turns.map((turn) => html`<div class="turn">
        <p class="user">${turn.sent}</p>
        ${turn.said.map((/** @type {any} */ part) => html`<p class=${`agent-said ${part.kind}`}>${part.kind !== 'assistant_message' && html`<span class="label">${part.kind.replace('_message', '').replaceAll('_', ' ')}</span> `}${part.text}</p>`)}
        <${Problem} error=${turn.error} />
        ${turn.entry && html`<p class="after"><a href=${`#/requests/${turn.entry}`}>How this request was decided</a></p>`}
      </div>`)}
    </div>`}
    <form class="say" onSubmit=${send}>
      <input aria-label=${`Message to ${agent.name}`} placeholder="Say something" value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)} />
      <button class="primary" disabled=${isBusy || !text.trim()}>Send</button>
    </form>
  </${Section}>`;
}
