// The console: every screen in Chromium, with an SDK behind it that does what the screen then shows.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startGatelet } from '../support/gatelet.mjs';
import { Letta, browserTest, startSite } from './browser.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Where the pictures of the documentation are; written only on demand. */
const PICTURES = process.env.GATELET_WRITE_DOCS ? new URL('../../docs/console/', import.meta.url) : null;
const ORIGIN = 'http://localhost:3000';
/** What the SDK calls to send a message and stream the answer. */
const SEND = 'SendMessage';
const SCREENS = ['requests', 'playground', 'tokens', 'injected', 'time', 'verdicts', 'agents'];

let gatelet, exists;

before(async () => {
  gatelet = await startGatelet();
  // A gateway has no control API, and no console.
  exists = (await control(gatelet, 'GET', '')) !== null;
});
after(() => gatelet?.stop());

async function control(server, method, path, body) {
  const response = await fetch(`${server.url}/_gatelet/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (response.status === 404 && path === '') return null;
  assert(response.ok, `${method} ${path}: ${response.status}`);
  return response.status === 204 ? undefined : response.json();
}

/** A namespace in which an agent has a past, and whose page was refused twice. */
async function livelyNamespace(name) {
  const namespace = await control(gatelet, 'POST', '/ns', {
    name,
    replies: [{ id: 'weather', text: 'weather', times: 2, steps: [{ assistant: 'It is sunny.' }] }],
    faults: [{ id: 'slow-delete', where: { operation: 'DeleteAgent' }, do: { delay: '1s' } }],
    seed: {
      agent: [
        {
          ref: 'helper',
          name: 'helper',
          model: 'openai/gpt-4o-mini',
          memory_blocks: [
            { label: 'human', value: 'Name: Ada' },
            { label: 'persona', value: 'I help with the garden.' },
          ],
          messages: [
            { role: 'user', content: 'Hi' },
            { role: 'assistant', content: 'Hello, Ada.' },
          ],
        },
      ],
      token: [{ ref: 'page', agent: 'helper', access: ['read_messages', 'write_messages'], hostname: ORIGIN }],
    },
  });
  const page = (origin) =>
    new Letta({ baseURL: gatelet.url, apiKey: namespace.tokens.page.token, defaultHeaders: { Origin: origin }, maxRetries: 0 });
  const { helper } = namespace.refs;
  for (const input of ['Hello', 'How is the garden today?']) {
    const stream = await page(ORIGIN).agents.messages.create(helper, { input, streaming: true, stream_tokens: true });
    for await (const _ of stream);
  }
  await page(ORIGIN).agents.messages.list(helper);
  await assert.rejects(page(ORIGIN).agents.retrieve(helper));
  await assert.rejects(page('http://evil.example').agents.messages.list(helper));
  await gatelet.allow('origin_refused', 'The console shows what is refused.', name);
  await control(gatelet, 'PUT', `/ns/${name}/snapshots/before-the-test`);
  return namespace;
}

/** The console, signed in with a key; whatever it loads must come from the server. */
async function signIn(open, key, screen = 'requests') {
  const page = await open('about:blank');
  const elsewhere = [];
  page.on('request', (request) => request.url().startsWith(gatelet.url) || elsewhere.push(request.url()));
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(`${gatelet.url}/_gatelet/#key=${key}`);
  await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  if (screen !== 'requests') await page.goto(`${gatelet.url}/_gatelet/#/${screen}`);
  return { page, elsewhere, errors };
}

/** A test of the console, which no gateway has. */
function consoleTest(name, body) {
  browserTest(name, (open) => exists && body(open));
}

consoleTest('the first thing seen is the last refused request, and why', async (open) => {
  const { api_key: key } = await livelyNamespace('first-sight');
  const { page, errors } = await signIn(open, key);
  assert.equal(page.url(), `${gatelet.url}/_gatelet/`, 'the key has left the address');
  const refusal = page.getByRole('region', { name: 'Last refused request' });
  await refusal.getByText('The token is bound to http://localhost:3000, but the request came from http://evil.example').waitFor();
  await refusal.getByText('403 origin_mismatch').waitFor();
  await refusal.getByRole('link', { name: 'See every step' }).click();
  const panel = page.getByRole('complementary', { name: 'One request' });
  await panel.getByRole('row', { name: 'Origin http://evil.example http://localhost:3000' }).waitFor();
  assert((await panel.getByRole('listitem').count()) > 5, 'each step is there');
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'detached' });
  assert.deepEqual(errors, []);
});

consoleTest('requests appear as they arrive, and filters choose among them', async (open) => {
  const { api_key: key, refs } = await livelyNamespace('arrivals');
  const { page } = await signIn(open, key);
  await page.getByRole('status').getByText('live', { exact: true }).waitFor();
  const table = page.getByRole('table', { name: 'Requests, newest first' });
  await table.getByRole('link', { name: 'ListMessages' }).first().waitFor();
  assert.equal(await table.getByRole('link', { name: 'RetrieveRun' }).count(), 0);
  await fetch(`${gatelet.url}/v1/runs/run-00000000-0000-4000-8000-000000000000`, { headers: { authorization: `Bearer ${key}` } });
  await table.getByRole('link', { name: 'RetrieveRun' }).waitFor();
  await page.getByLabel('Decision').selectOption('denied');
  await table.getByText('access_not_granted').waitFor();
  assert.equal(await table.getByText('admitted').count(), 0);
  await page.getByLabel('Decision').selectOption('');
  await page.getByLabel('Agent').fill('helper');
  await table.getByRole('link', { name: SEND }).first().click();
  const panel = page.getByRole('complementary', { name: 'One request' });
  await panel.getByRole('tab', { name: /Frames/ }).click();
  await panel.getByText('usage_statistics').waitFor();
  await panel.getByRole('tab', { name: 'Sent' }).click();
  await panel.getByText('How is the garden today?').waitFor();
  assert(refs.helper);
});

consoleTest('what is copied from a request works', async (open) => {
  const { api_key: key, name, tokens } = await livelyNamespace('copies');
  const { page } = await signIn(open, key);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('table').getByRole('link', { name: SEND }).first().click();
  const copied = async (button) => {
    await page.getByRole('button', { name: button }).click();
    await page.getByText('Copied').waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    await page.getByText('Copied').waitFor({ state: 'detached' });
    return text;
  };
  const { stdout } = await promisify(execFile)('sh', ['-c', `${await copied('Copy as curl')} -sS`], { env: { ...process.env, TOKEN: tokens.page.token } });
  assert.match(stdout, /assistant_message/);
  const expectation = JSON.parse(await copied('Copy as expectation'));
  assert.equal((await control(gatelet, 'POST', `/ns/${name}/verify`, expectation)).verified, true);
  const reply = JSON.parse(await copied('Copy as reply'));
  assert.equal(reply.steps.at(-1).assistant, 'Echo: How is the garden today?');
  await control(gatelet, 'POST', `/ns/${name}/replies`, reply);
});

consoleTest('the playground says what a policy opens, tries a request, and writes the code', async (open) => {
  const { api_key: key, refs } = await livelyNamespace('playground');
  const { page } = await signIn(open, key, 'playground');
  await page.getByLabel('write_agent on helper').check();
  const operations = page.getByRole('table', { name: 'Operations' });
  await page.getByLabel('Find an operation').fill('ModifyAgent');
  await operations.getByText('ModifyAgent', { exact: true }).waitFor();
  await page.getByLabel('write_agent on helper').uncheck();
  await operations.getByText('ModifyAgent', { exact: true }).waitFor({ state: 'detached' });
  const box = page.getByRole('region', { name: 'Try a request' });
  await box.getByLabel('Begin with').selectOption('Change the agent');
  await box.getByRole('button', { name: 'Explain without sending' }).click();
  await box.getByText('403 access_not_granted').waitFor();
  await box.getByLabel('Begin with').selectOption('Send a message');
  await box.getByRole('button', { name: 'Send', exact: true }).click();
  await box.getByText('"message_type":"assistant_message"').waitFor();
  await page.getByText(`"id": "${refs.helper}"`).first().waitFor();
});

consoleTest('tokens end, time moves, and a snapshot brings both back', async (open) => {
  const { api_key: key, tokens } = await livelyNamespace('time');
  const { page } = await signIn(open, key, 'tokens');
  const row = page.getByRole('row', { name: /^page/ });
  await page.getByRole('textbox', { name: 'Token' }).fill(tokens.page.token);
  await page.getByText(tokens.page.id).waitFor();
  await row.getByRole('button', { name: 'Revoke' }).click();
  await row.waitFor({ state: 'detached' });
  await page.goto(`${gatelet.url}/_gatelet/#/time`);
  await page.getByRole('button', { name: 'Freeze' }).click();
  await page.getByText('frozen').waitFor();
  const shown = () => page.locator('time.now').getAttribute('datetime');
  const before = Date.parse(await shown());
  await page.getByRole('button', { name: '+1 h' }).click();
  await page.waitForFunction((before) => Date.parse(document.querySelector('time.now').dateTime) === before + 3_600_000, before);
  await page.getByRole('button', { name: 'Restore' }).click();
  await page.getByText('Everything is as it was in before-the-test').waitFor();
  await page.goto(`${gatelet.url}/_gatelet/#/tokens`);
  await row.waitFor();
});

consoleTest('a newcomer sees a streamed answer, and from there why it was admitted', async (open) => {
  const { api_key: key } = await control(gatelet, 'POST', '/ns', { name: 'newcomer' });
  const { page } = await signIn(open, key);
  await page.getByRole('link', { name: 'Talk to an agent here' }).click();
  await page.getByRole('button', { name: 'Create a demo agent' }).click();
  await page.getByPlaceholder('Say something').fill('Good morning');
  await page.keyboard.press('Enter');
  await page.getByRole('log').getByText('Echo: Good morning').waitFor();
  await page.getByRole('link', { name: 'How this request was decided' }).click();
  await page.getByRole('complementary', { name: 'One request' }).getByText('StreamMessage', { exact: true }).waitFor();
  // What the page itself asks for is not among the requests.
  assert.equal(await page.getByRole('table').getByRole('link').count(), 1);
  // A token without the word is refused here as everywhere.
  await page.goto(`${gatelet.url}/_gatelet/#/agents`);
  await page.getByLabel('write_messages').uncheck();
  await page.getByPlaceholder('Say something').fill('And now?');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('access_not_granted').waitFor();
});

consoleTest('hostile text in every field stays text', async (open) => {
  const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
  const { api_key: key, refs, tokens } = await control(gatelet, 'POST', '/ns', {
    name: 'hostile',
    seed: {
      agent: [{ ref: 'helper', name: 'helper', model: 'openai/gpt-4o-mini', description: evil, tags: [evil], memory_blocks: [{ label: 'human', value: evil }] }],
      token: [{ ref: 'page', agent: 'helper', access: ['read_messages', 'write_messages'], hostname: ORIGIN }],
    },
  });
  const send = (path, headers, body) =>
    fetch(gatelet.url + path, { method: body ? 'POST' : 'GET', headers: { 'user-agent': evil, ...headers }, body: body && JSON.stringify(body) });
  const bearer = { authorization: `Bearer ${tokens.page.token}`, origin: ORIGIN, 'content-type': 'application/json' };
  await send(`/v1/agents/${refs.helper}/messages/stream`, bearer, { messages: [{ role: 'user', content: evil }], streaming: true });
  await send(`/v1/agents/${refs.helper}/messages?${new URLSearchParams({ evil })}`, { ...bearer, origin: `http://${evil}` });
  await send(`/v1/${encodeURIComponent(evil)}`, { authorization: evil });
  await gatelet.allow('origin_refused', 'The console shows an origin that is no origin.', 'hostile');
  const { page, errors } = await signIn(open, key);
  for (const screen of SCREENS) {
    await page.goto(`${gatelet.url}/_gatelet/#/${screen}`);
    await page.getByRole('main').locator('h2').first().waitFor();
    if (screen === 'requests') {
      const links = page.getByRole('table').getByRole('link');
      for (let index = 0; index < (await links.count()); index += 1) {
        await links.nth(index).click();
        for (const tab of await page.getByRole('tab').all()) await tab.click();
      }
    }
  }
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img').count(), 0);
  await page.goto(`${gatelet.url}/_gatelet/#/agents`);
  await page.getByText(evil).first().waitFor();
  assert.deepEqual(errors, []);
});

consoleTest('it talks to its own server alone, and no other page can frame it', async (open) => {
  const { api_key: key } = await livelyNamespace('alone');
  const { page, elsewhere } = await signIn(open, key);
  for (const screen of SCREENS) {
    await page.goto(`${gatelet.url}/_gatelet/#/${screen}`);
    await page.getByRole('main').locator('h2').first().waitFor();
  }
  assert.deepEqual(elsewhere, []);
  const stored = await page.evaluate(() => ({ local: { ...localStorage }, cookie: document.cookie }));
  assert.deepEqual(stored, { local: {}, cookie: '' });
  const site = await startSite();
  try {
    const other = await open(site.origin);
    await other.evaluate((url) => {
      document.body.append(Object.assign(document.createElement('iframe'), { src: url }));
    }, `${gatelet.url}/_gatelet/`);
    await other.waitForFunction(() => document.querySelector('iframe') !== null);
    const frame = other.frames().find((frame) => frame !== other.mainFrame());
    assert.equal(await frame.locator('#app').count(), 0);
    const read = await other.evaluate((url) => fetch(url).then((response) => response.text(), (error) => error.name), `${gatelet.url}/_gatelet/v1`);
    assert.equal(read, 'TypeError');
  } finally {
    await site.stop();
  }
});

consoleTest('a key that is wrong is refused with a sentence, and signing out forgets the right one', async (open) => {
  const { api_key: key } = await livelyNamespace('keys');
  const page = await open(`${gatelet.url}/_gatelet/`);
  await page.getByLabel('API key').fill('sk-let-nonsense');
  await page.getByRole('button', { name: 'Open the console' }).click();
  await page.getByRole('alert').getByText('bearer_invalid').waitFor();
  await page.getByLabel('API key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

consoleTest('it is usable by keyboard, in both colour schemes, in narrow windows, and axe finds nothing', async (open) => {
  const { api_key: key } = await livelyNamespace('shown');
  const { page } = await signIn(open, key);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the screen');
  await page.evaluate(() => document.activeElement.blur());
  if (PICTURES) await mkdir(PICTURES, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const [screen, prepare] of Object.entries(VIEWS)) {
      await page.setViewportSize({ width: 1360, height: 860 });
      await page.goto(`${gatelet.url}/_gatelet/#/${screen.split(' ')[0]}`);
      await page.getByRole('main').locator('h2').first().waitFor();
      await prepare(page);
      if (PICTURES) {
        await page.screenshot({ path: fileURLToPath(new URL(`${screen.replaceAll(' ', '-')}-${colorScheme}.png`, PICTURES)) });
      }
      const violations = await page.evaluate(`${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 120))]))`);
      assert.deepEqual(violations, [], `${screen}, ${colorScheme}`);
      await page.setViewportSize({ width: 380, height: 700 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(overflow <= 0, `${screen} is ${overflow} px too wide`);
    }
  }
});

/** The views that are looked at: the screen, and what is done there first. */
const VIEWS = {
  requests: (page) => page.waitForFunction(() => document.querySelector('.spark path')?.getAttribute('d').includes('3V13')),
  'requests decision': async (page) => {
    await page.getByRole('link', { name: 'See every step' }).click();
    await page.getByRole('tab', { name: 'Decision' }).waitFor();
  },
  'requests frames': async (page) => {
    await page.getByRole('table').getByRole('link', { name: SEND }).first().click();
    await page.getByRole('tab', { name: /Frames/ }).click();
    await page.getByText('usage_statistics').waitFor();
  },
  playground: (page) => page.getByRole('table', { name: 'Operations' }).waitFor(),
  tokens: (page) => page.getByRole('row', { name: /^page/ }).waitFor(),
  injected: (page) => page.getByText('slow-delete').waitFor(),
  time: (page) => page.getByText('before-the-test', { exact: true }).waitFor(),
  verdicts: (page) => page.getByRole('heading', { name: 'Coverage of policies' }).waitFor(),
  agents: async (page) => {
    await page.getByPlaceholder('Say something').fill('How is the garden?');
    await page.keyboard.press('Enter');
    await page.getByText('Echo: How is the garden?').first().waitFor();
  },
};

consoleTest('ten thousand requests scroll as smoothly as a hundred', async (open) => {
  const { api_key: key, name } = await livelyNamespace('many');
  const [entry] = (await control(gatelet, 'GET', `/ns/${name}/journal?operation=${SEND}`)).entries;
  const entries = Array.from({ length: 10_000 }, (_, index) => ({ ...entry, id: index + 1, real_at: new Date(1.8e12 + index).toISOString() }));
  /** How much processor time of the page's thread a step of scrolling takes, in milliseconds. */
  const step = async (entries) => {
    const page = await open('about:blank');
    await page.route('**/journal?*', (route) => route.fulfill({ json: { entries, next: '0', dropped: 0, timed_out: false } }));
    // It stays open, and nothing arrives.
    await page.route('**/events?*', () => {});
    await page.route('**/frames', (route) => route.fulfill({ json: [] }));
    await page.goto(`${gatelet.url}/_gatelet/#key=${key}`);
    await page.getByRole('status').getByText(`${entries.length}`, { exact: true }).waitFor();
    const profiler = await page.context().newCDPSession(page);
    await profiler.send('Performance.enable', { timeDomain: 'threadTicks' });
    const busy = async () => (await profiler.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value;
    const scroll = (steps) =>
      page.evaluate(async (steps) => {
        const rows = document.querySelector('.rows');
        for (let step = 0; step < steps; step += 1) {
          // Each step shows other rows altogether.
          rows.scrollTop = step % 2 ? rows.scrollHeight * (0.5 + step / steps / 2) : 0;
          await new Promise(requestAnimationFrame);
        }
      }, steps);
    await scroll(20);
    const before = await busy();
    await scroll(100);
    return ((await busy()) - before) * 10;
  };
  const [few, many] = [await step(entries.slice(0, 100)), await step(entries)];
  assert(many < 2 * few && many < 50, `a step takes ${many} ms, and ${few} ms with a hundred requests`);
  if (process.env.VERBOSE) console.log({ few, many });
});

consoleTest('its sources have the types that they say, and fit in 200 KiB', async () => {
  const folder = new URL('../../src/console/', import.meta.url);
  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [compiler, '-p', fileURLToPath(folder)]).catch(({ stdout }) => assert.fail(stdout));
  const files = (await readdir(new URL('web/', folder), { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
  const sizes = await Promise.all(files.map(async ({ parentPath, path, name }) => (await stat(`${parentPath ?? path}/${name}`)).size));
  assert(sizes.reduce((sum, size) => sum + size) < 200 * 1024);
  // The renderer is as its authors published it.
  const vendored = await readFile(new URL('web/vendor/htm-preact.js', folder));
  assert.equal(createHash('sha256').update(vendored).digest('hex'), '72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7');
});
