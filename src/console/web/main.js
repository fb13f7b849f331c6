// The frame of the console: signing in, the namespace, the screens.

import { html, render, useEffect, useMemo, useState } from './vendor/htm-preact.js';
import { call, forgetKey, of, storeKey, storedKey } from './api.js';
import { Journal } from './journal.js';
import { Agents } from './agents.js';
import { Injected } from './injected.js';
import { Playground } from './playground.js';
import { Requests } from './requests.js';
import { Time } from './time.js';
import { Tokens } from './tokens.js';
import { Choice, Problem, useAction } from './ui.js';
import { Verdicts } from './verdicts.js';

/** The namespace picker's value for all of them. */
const ALL = '*';

/** Each screen: its name in the address, its title, what shows it, the features that it needs. @type {[string, string, any, string[]][]} */
const SCREENS = [
  ['requests', 'Requests', Requests, []],
  ['playground', 'Playground', Playground, []],
  ['tokens', 'Tokens', Tokens, []],
  ['injected', 'Replies and faults', Injected, ['replies']],
  ['time', 'Time', Time, []],
  ['verdicts', 'Verdicts', Verdicts, ['verdicts']],
  ['agents', 'Agents', Agents, []],
];

/** @param {{ onKey: () => Promise<void> }} props */
function SignIn({ onKey }) {
  const [key, setKey] = useState('');
  const [run, isBusy, error] = useAction();
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    run(async () => {
      storeKey(key.trim());
      try {
        await onKey();
      } catch (problem) {
        forgetKey();
        throw problem;
      }
    });
  };
  return html`<main class="sign-in">
    <form onSubmit=${submit}>
      <h1><${Mark} /> Gatelet</h1>
      <p>Enter an API key of this server, or the key of a namespace. It stays in this tab.</p>
      <label class="field wide"><span class="label">API key</span>
        <input type="password" name="key" autocomplete="off" required autofocus value=${key} placeholder="sk-let-…" onInput=${(/** @type {any} */ event) => setKey(event.target.value)} />
      </label>
      <${Problem} error=${error} />
      <button class="primary" disabled=${isBusy}>Open the console</button>
      <p class="quiet">The address that <code>gatelet serve</code> prints when it makes a key opens this page without asking.</p>
    </form>
  </main>`;
}

const Mark = () => html`<img class="mark" src="icon.svg" alt="" width="20" height="20" />`;

function useAddress() {
  const read = () => location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
  const [address, setAddress] = useState(read);
  useEffect(() => {
    const changed = () => setAddress(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return address;
}

/** Loads what every screen needs: what the server can do, and its namespaces. */
async function enter() {
  const about = await call('GET', '');
  // The key of a namespace reaches nothing else.
  if (about.namespace) return { about, namespaces: [await call('GET', '/ns/-')], isInstance: false };
  const { namespaces } = await call('GET', '/ns');
  return { about, namespaces, isInstance: true };
}

function Console() {
  const [session, setSession] = useState(/** @type {any} */ (null));
  const [isReady, setReady] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [chosen, setChosen] = useState(/** @type {string | null} */ (null));
  const [, setTurn] = useState(0);
  const address = useAddress();
  const open = async () => {
    const entered = await enter();
    setSession(entered);
    setProblem(null);
  };
  useEffect(() => {
    if (!storedKey()) return setReady(true);
    open()
      .catch((error) => (error.status === 401 || error.status === 403 ? forgetKey() : setProblem(error)))
      .finally(() => setReady(true));
  }, []);
  // A key in the address of an open page signs in anew.
  useEffect(() => {
    const changed = () => location.hash.startsWith('#key=') && storedKey() && open().catch(setProblem);
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  const names = session?.namespaces.map((/** @type {any} */ space) => space.name) ?? [];
  const ns = chosen && (chosen === ALL || names.includes(chosen)) ? chosen : (names.includes('default') ? 'default' : names[0]);
  const watched = ns === ALL ? names.join('/') : ns;
  const journal = useMemo(() => watched && new Journal(watched.split('/'), () => setTurn((turn) => turn + 1)), [watched, session !== null]);
  useEffect(() => () => journal && journal.stop(), [journal]);
  if (!isReady) return html`<main class="sign-in" aria-busy="true"></main>`;
  if (problem) return html`<main class="sign-in"><div><${Problem} error=${problem} /><button class="primary" onClick=${() => location.reload()}>Try again</button></div></main>`;
  if (!session) return html`<${SignIn} onKey=${open} />`;

  const [name = 'requests', ...rest] = address;
  const screens = SCREENS.filter(([, , , needs]) => needs.every((feature) => session.about.features.includes(feature)));
  const [id, title, Screen] = screens.find(([id]) => id === name) ?? screens[0];
  const single = ns === ALL ? (names.includes('default') ? 'default' : names[0]) : ns;
  const space = session.namespaces.find((/** @type {any} */ space) => space.name === single) ?? null;
  const signOut = () => {
    forgetKey();
    journal?.stop();
    location.hash = '';
    setSession(null);
  };
  const marked = journal ? journal.entries.filter((/** @type {any} */ entry) => entry.decision.outcome === 'denied').length : 0;
  return html`
    <a class="skip" href="#screen">Skip to the screen</a>
    <header class="top">
      <a class="brand" href="#/requests"><${Mark} /> Gatelet</a>
      <label class="picker"><span>Namespace</span>
        <${Choice} label="Namespace" value=${ns} onChange=${setChosen}
          options=${[...(session.isInstance && names.length > 1 ? [[ALL, 'all']] : []), ...names.map((/** @type {string} */ name) => [name, name])]} />
      </label>
      <button class="small" onClick=${() => open().catch(setProblem)} title="Read the list of namespaces again">Refresh</button>
      <span class="grow"></span>
      <span class=${journal && journal.live ? 'live on' : 'live'} role="status">${journal && journal.live ? 'live' : 'not live'}</span>
      <span class="quiet version">${session.about.version}</span>
      <button class="small" onClick=${signOut}>Sign out</button>
    </header>
    <nav class="side" aria-label="Screens">
      ${screens.map(
        ([screen, text]) => html`<a href=${`#/${screen}`} aria-current=${screen === id ? 'page' : undefined}>
          <span>${text}</span>${screen === 'requests' && marked > 0 && html`<span class="count" title=${`${marked} refused`}>${marked}</span>`}
        </a>`,
      )}
    </nav>
    <main id="screen" tabindex="-1" class=${`screen of-${id}`}>
      <h1 class="sr">${title}</h1>
      <${Screen} key=${`${id} ${single}`} ns=${single} isAll=${ns === ALL} about=${session.about} space=${space} rest=${rest} journal=${journal} isInstance=${session.isInstance}
        refresh=${() => open().catch(setProblem)} choose=${setChosen} />
    </main>`;
}

render(html`<${Console} />`, /** @type {HTMLElement} */ (document.getElementById('app')));
