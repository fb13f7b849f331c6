"use strict";
// For Playwright: a server for each worker, a namespace for each test.

const { createHash } = require("node:crypto");
const { basename } = require("node:path");
const playwright = require("@playwright/test");

const { COOKIE, forwardNamespace } = require("./lib/forward.cjs");
const { failure, problemsOf } = require("./lib/judge.cjs");
const { toHaveReceived } = require("./lib/matcher.cjs");
const { openGatelet } = require("./lib/server.cjs");

/** Of how many streams the frames are attached to a failed test. */
const MOST_STREAMS = 20;

const test = playwright.test.extend({
  gateletOptions: [{}, { option: true }],
  serverOptions: [{}, { option: true, scope: "worker" }],

  server: [
    async ({ serverOptions }, use) => {
      const server = await openGatelet(serverOptions);
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],

  gatelet: async ({ server, gateletOptions }, use, testInfo) => {
    const { strict = true, ...options } = gateletOptions;
    const namespace = await server.namespace({ ...namesFor(testInfo), ifExists: "reset", ...options });
    await use(namespace);

    const hasFailed = testInfo.status !== testInfo.expectedStatus;
    const problems = strict || hasFailed ? await problemsOf(namespace) : [];
    if (hasFailed || problems.length) await attach(namespace, problems, testInfo);
    const keep = process.env.GATELET_KEEP;
    if (keep === "all" || (keep === "failed" && (hasFailed || problems.length))) {
      testInfo.annotations.push({ type: "gatelet", description: `kept as ${namespace.name} on ${server.url}` });
    } else {
      await namespace.delete();
    }
    // A test that failed already may have had no time to use everything.
    if (problems.length && !hasFailed) throw new Error(failure(problems));
  },

  // So that a back end which all tests share knows whom it serves: see forwardNamespace.
  context: async ({ context, gatelet, baseURL }, use) => {
    await context.addCookies([{ name: COOKIE, value: gatelet.name, url: baseURL ?? "http://localhost" }]);
    await use(context);
  },
});

/** The name of a test's namespace, and what its ids are derived from: the same for every run and retry. */
function namesFor({ titlePath, testId, retry, repeatEachIndex }) {
  const [file, ...titles] = titlePath;
  const path = [basename(file), ...titles].join(" ");
  const words = titles.join(" ").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+/, "").slice(0, 40) || "test";
  const digest = (text) => createHash("sha256").update(text).digest("hex");
  const run = digest(`${testId} ${retry} ${repeatEachIndex}`).slice(0, 8);
  return { name: `${words}-${run}`, ids: Buffer.byteLength(path) <= 256 ? path : digest(path) };
}

/** Attaches what happened in a namespace: its requests, the frames of its streams, and what came near. */
async function attach(namespace, problems, testInfo) {
  const { entries } = await namespace.journal.list();
  const json = (value) => ({ body: JSON.stringify(value, null, 2), contentType: "application/json" });
  await testInfo.attach("gatelet-journal", json(entries));
  const streams = entries.filter(({ answer }) => answer?.frames > 0).slice(-MOST_STREAMS);
  const frames = await Promise.all(streams.map(({ id }) => namespace.journal.frames(id).catch(() => [])));
  if (streams.length) await testInfo.attach("gatelet-frames", json(Object.fromEntries(streams.map(({ id }, n) => [id, frames[n]]))));
  const misses = entries.filter(({ reply }) => reply?.near_misses?.length).map(describeMisses);
  const lines = [...problems, ...misses];
  if (lines.length) await testInfo.attach("gatelet-findings", { body: lines.join("\n"), contentType: "text/plain" });
}

function describeMisses({ id, reply }) {
  const unmet = ({ criteria }) =>
    criteria.filter(({ ok }) => !ok).map(({ name, expected, found }) => `${name} ${JSON.stringify(expected)}: found ${JSON.stringify(found)}`);
  const misses = reply.near_misses.map((miss) => `  reply "${miss.id}": ${unmet(miss).join("; ")}`);
  return [`Entry ${id} was not given a reply of this test; the nearest:`, ...misses].join("\n");
}

const expect = playwright.expect.extend({ toHaveReceived });

module.exports = { expect, forwardNamespace, test };
