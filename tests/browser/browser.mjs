// A real Chromium for tests, and a web site to open in it.

import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { staticFiles } from '../../examples/chat/static.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const EXAMPLE = new URL('../../examples/chat/', import.meta.url);
const APP_SERVER_EXAMPLE = new URL('../../examples/app-server-chat/', import.meta.url);
const SCREENSHOTS = new URL('screenshots/', import.meta.url);

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: EXECUTABLE,
    // Root needs --no-sandbox; the rest keeps Chromium from talking to anyone but the servers under test.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // A name of somebody else's that leads to this machine.
      '--host-resolver-rules=MAP evil.example 127.0.0.1',
    ],
  });
});
after(() => browser?.close());

/**
 * A test that opens pages, each in a browser context of its own: other cookies, another user.
 *
 * When it fails, it leaves a picture of every page in `screenshots/`.
 */
export function browserTest(name, body) {
  test(name, async () => {
    const pages = [];
    const open = async (url) => {
      const page = await (await browser.newContext()).newPage();
      pages.push(page);
      page.setDefaultTimeout(15_000);
      await page.goto(url);
      return page;
    };
    try {
      await body(open);
    } catch (error) {
      await mkdir(SCREENSHOTS, { recursive: true });
      for (const [index, page] of pages.entries()) {
        const file = `${name.replace(/\W+/g, '-')}-${index + 1}.png`;
        await page.screenshot({ path: fileURLToPath(new URL(file, SCREENSHOTS)) }).catch(() => {});
      }
      throw error;
    } finally {
      for (const page of pages) await page.context().close();
    }
  });
}

/** Counts the times something is appended to an element: the steps in which a reply appeared. */
export function countAppends(page, selector) {
  return page.evaluate((selector) => {
    window.appends = 0;
    const observer = new MutationObserver((records) => {
      for (const { target, addedNodes } of records) {
        if (target.matches?.(selector)) window.appends += [...addedNodes].filter((node) => node.data).length;
      }
    });
    observer.observe(document.body, { childList: true, subtree: true });
  }, selector);
}

/** A web site on an origin of its own: the page of this folder, and SDK and client as the example chats install them. */
export async function startSite() {
  const page = staticFiles(new URL('page/', import.meta.url));
  const sdk = staticFiles(new URL('node_modules/@letta-ai/letta-client/', EXAMPLE));
  const client = staticFiles(new URL('node_modules/@letta-ai/letta-code/dist/', APP_SERVER_EXAMPLE));
  const folders = { '/sdk/': sdk, '/client/': client, '/': page };
  const server = createServer(({ url }, response) => {
    const [prefix, files] = Object.entries(folders).find(([prefix]) => url.startsWith(prefix));
    return files(url.slice(prefix.length - 1), response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://localhost:${server.address().port}`,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The SDK that the example chat has installed, for what a test does as the server. */
export const { Letta } = await import(new URL('node_modules/@letta-ai/letta-client/index.mjs', EXAMPLE));
