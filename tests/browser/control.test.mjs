// Hostile pages and the control API: what a browser lets any page send to a server on this machine has no effect, even if
// the page knows an API key.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { startGatelet } from '../support/gatelet.mjs';
import { browserTest, startSite } from './browser.mjs';

let gatelet, site, exists;

before(async () => {
  [gatelet, site] = await Promise.all([startGatelet(), startSite()]);
  // A gateway has no control API.
  exists = (await control('GET', '')).status === 200;
  if (exists) assert.equal((await control('POST', '/ns', { name: 'victim' })).status, 201);
});
after(() => Promise.all([gatelet, site].map((each) => each?.stop())));

function control(method, path, body) {
  const headers = { authorization: `Bearer ${gatelet.apiKey}`, 'content-type': 'application/json' };
  return fetch(`${gatelet.url}/_gatelet/v1${path}`, { method, headers, body: JSON.stringify(body) });
}

/** All that a page could change or would like to know. */
async function state() {
  const namespaces = (await (await control('GET', '/ns')).json()).namespaces;
  const journal = await (await control('GET', '/ns/victim/journal')).json();
  return {
    names: namespaces.map(({ name }) => name),
    frozen: namespaces.map(({ clock }) => clock.frozen),
    snapshots: namespaces.map(({ snapshots }) => snapshots),
    entries: journal.entries.length,
  };
}

/** Tries every call by every means of a page, and returns what it could read: run in the page. */
const attack = (page) =>
  page.evaluate(
    async ({ base, key }) => {
      const calls = [
        ['GET', '/ns'],
        ['GET', '/ns/victim/journal'],
        ['POST', '/ns', { name: 'made-by-a-page' }],
        ['POST', '/ns/victim/reset', { to: 'empty' }],
        ['PUT', '/ns/victim/clock', { frozen: true }],
        ['PUT', '/ns/victim/snapshots/made-by-a-page', {}],
        ['DELETE', '/ns/victim/journal'],
        ['DELETE', '/ns/victim'],
      ];
      const read = [];
      for (const [method, path, content] of calls) {
        const body = content && JSON.stringify(content);
        const url = `${base}/_gatelet/v1${path}`;
        const authorization = `Bearer ${key}`;
        const attempts = [
          { method, body, headers: { authorization, 'content-type': 'application/json' } },
          { method, body, headers: { authorization } },
          { method, body, headers: { 'x-bare-password': `password ${key}` } },
          { method: method === 'GET' ? 'GET' : 'POST', body, mode: 'no-cors', credentials: 'include' },
        ];
        for (const attempt of attempts) {
          const response = await fetch(url, attempt).catch(() => null);
          if (!response || response.type === 'opaque') continue;
          const text = await response.text();
          read.push([response.status, text && JSON.parse(text).code]);
        }
        // A form needs no permission to be sent anywhere, and can imitate JSON.
        const frame = Object.assign(document.createElement('iframe'), { name: `frame-${Math.random()}` });
        const form = Object.assign(document.createElement('form'), { method: 'post', enctype: 'text/plain', action: url, target: frame.name });
        const field = Object.assign(document.createElement('input'), { name: (body ?? '{}').slice(0, -1) + ',"x":"', value: '"}' });
        form.append(field);
        document.body.append(frame, form);
        const loaded = new Promise((resolve) => (frame.onload = resolve));
        form.submit();
        await loaded;
      }
      return read;
    },
    { base: page.url().startsWith('http://evil.example') ? '' : gatelet.url, key: gatelet.apiKey },
  );

browserTest('a page of another origin can neither use nor read the control API', async (open) => {
  if (!exists) return;
  const before = await state();
  assert.deepEqual(await attack(await open(site.origin)), []);
  assert.deepEqual(await state(), before);
});

browserTest('a name that an attacker lets resolve to this machine does not reach it', async (open) => {
  if (!exists) return;
  const before = await state();
  // To the browser, Gatelet itself is this page, and all requests are of its own origin.
  const page = await open(`http://evil.example:${new URL(gatelet.url).port}/`);
  const read = await attack(page);
  assert.ok(read.length >= 24, `${read.length} responses`);
  for (const [status, code] of read) assert.deepEqual([status, code], [403, 'control_not_allowed']);
  assert.deepEqual(await state(), before);
});

// Last, because it deletes what the others look at.
browserTest('from the server’s own origin the same calls work, so what is refused above is refused for its origin', async (open) => {
  if (!exists) return;
  const statuses = (await attack(await open(gatelet.url))).map(([status]) => status);
  for (const status of [200, 201, 415]) assert.ok(statuses.includes(status), `${status} in ${statuses}`);
  assert.equal((await control('GET', '/ns/made-by-a-page')).status, 200);
  assert.equal((await control('GET', '/ns/victim')).status, 404);
});
