// What the fixtures do beside the examples of the README, in the folder where the packages are installed.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import { run } from './install.mjs';

const AGENT = `{ agent: [{ ref: "helper", name: "helper", model: "openai/gpt-4o-mini" }] }`;
const SEED = `{ ...${AGENT}, token: [{ ref: "page", agent: "helper", access: ["write_messages"], hostname: "http://localhost:3000" }] }`;
const SAY = `async function say(ns, input) {
  const headers = { authorization: "Bearer " + ns.tokens.page.token, origin: "http://localhost:3000", "content-type": "application/json" };
  return fetch(ns.baseURL + "/v1/agents/" + ns.refs.helper + "/messages/stream", { method: "POST", headers, body: JSON.stringify({ input }) }).then((r) => r.text());
}`;

/** The tests; `folder()` is where the packages are, and `has(feature)` whether the program has something. */
export function runnerTests(folder, has) {
  const write = (name, text) => {
    mkdirSync(join(folder(), name, '..'), { recursive: true });
    writeFileSync(join(folder(), name), text);
  };
  const passes = (command, env) => {
    const result = run(folder(), command, env);
    assert.equal(result.status, 0, result.output);
    return result;
  };
  const fails = (command, env) => {
    const result = run(folder(), command, env);
    assert.equal(result.status, 1, result.output);
    return result;
  };
  /** Runs Playwright, and returns its tests by title. */
  const playwright = (file, env, before = '') => {
    const { stdout, output } = run(folder(), `${before} npx playwright test --config playwright/config.mjs --reporter json ${file}`, env);
    const tests = {};
    const collect = ({ suites = [], specs = [] }) => {
      for (const { title, tests: [{ results, annotations }] } of specs) tests[title] = { ...results.at(-1), annotations };
      suites.forEach(collect);
    };
    assert.ok(stdout.includes('{'), output);
    collect(JSON.parse(stdout.slice(stdout.indexOf('{\n'))));
    return tests;
  };

  before(() => {
    const settings = { testDir: '.', testMatch: '*.pw.mjs', fullyParallel: true, workers: 2, outputDir: 'out' };
    write('playwright/config.mjs', `export default ${JSON.stringify(settings)};`);
  });

  test('Vitest and Jest: each test begins anew, with the same ids', () => {
    const body = (start) => `${start}
      ${SAY}
      const gatelet = useGatelet({ seed: ${SEED} });
      let refs, token;
      for (const nth of [1, 2]) {
        test("test " + nth, async () => {
          expect((await gatelet().journal.list()).entries).toEqual([]);
          if (nth === 1) [refs, token] = [gatelet().refs.helper, gatelet().tokens.page.token];
          else expect(gatelet().refs.helper).toBe(refs);
          if (nth === 2) expect(gatelet().tokens.page.token).not.toBe(token);
          await expect(gatelet()).not.toHaveReceived("StreamMessage");
          await say(gatelet(), "Hello");
          await expect(gatelet()).toHaveReceived("StreamMessage", { agent: "helper", times: 1 });
          expect(process.env.LETTA_API_KEY).toBe(undefined);
        });
      }`;
    write('anew.test.mjs', body(`import { useGatelet } from "gatelet/vitest"; import { expect, test } from "vitest";`));
    passes('npx vitest run anew.test.mjs');
    write('anew.test.cjs', body(`const { useGatelet } = require("gatelet/jest");`));
    passes('npx jest anew.test.cjs');
  });

  test('Vitest: what is missing is reported with what came near, and a getter that is asked too early says so', () => {
    write(
      'near.test.mjs',
      `import { useGatelet } from "gatelet/vitest"; import { expect, test } from "vitest";
      ${SAY}
      const gatelet = useGatelet({ seed: ${SEED} });
      let early;
      try { gatelet(); } catch (error) { early = error.message; }
      test("early", () => expect(early).toMatch(/beforeAll/));
      test("near", async () => {
        await say(gatelet(), "Hi");
        await expect(gatelet()).toHaveReceived("StreamMessage", { body: { "/input": "Hello" }, within: "10ms" });
      });
      test("not", async () => {
        await say(gatelet(), "Hi");
        await expect(gatelet()).not.toHaveReceived("StreamMessage");
      });`,
    );
    const { output } = fails('npx vitest run near.test.mjs');
    assert.match(output, /body\/input "Hello": found "Hi"/);
    assert.match(output, /has StreamMessage, which was not expected/);
    assert.match(output, /2 failed \| 1 passed/);
  });

  test('Vitest: one server for all files, by its setup', () => {
    const file = (name) =>
      write(
        `shared/${name}.test.mjs`,
        `import { useGatelet } from "gatelet/vitest"; import { test } from "vitest"; import { writeFileSync } from "node:fs";
        const gatelet = useGatelet();
        test("where", () => writeFileSync("shared/${name}.txt", gatelet().baseURL + " " + gatelet().name));`,
      );
    ['one', 'two'].forEach(file);
    write('shared/vitest.config.mjs', `export default { test: { globalSetup: "gatelet/vitest/setup" } };`);
    passes('npx vitest run --config shared/vitest.config.mjs shared');
    const [one, two] = ['one', 'two'].map((name) => readFileSync(join(folder(), `shared/${name}.txt`), 'utf8').split(' '));
    assert.equal(one[0], two[0]);
    assert.notEqual(one[1], two[1]);
  });

  test('Playwright: parallel tests have a namespace each, with the same name and ids in each run', () => {
    write(
      'playwright/parallel.pw.mjs',
      `import { mergeTests, test as base } from "@playwright/test";
      import { expect, test as gateletTest } from "gatelet/playwright";
      const test = mergeTests(gateletTest, base.extend({ own: async ({}, use) => use("own") }));
      ${SAY}
      test.use({ gateletOptions: { seed: ${SEED} } });
      for (const nth of [1, 2, 3, 4]) {
        test("test " + nth, async ({ gatelet, own }, testInfo) => {
          expect(own).toBe("own");
          for (let n = 0; n < nth; n += 1) await say(gatelet, "Hello");
          await expect(gatelet).toHaveReceived("StreamMessage", { times: nth });
          testInfo.annotations.push({ type: "identity", description: gatelet.name + " " + gatelet.refs.helper });
        });
      }`,
    );
    const identities = (env, before) => {
      const tests = Object.values(playwright('parallel.pw.mjs', env, before));
      for (const { status, errors } of tests) assert.equal(status, 'passed', JSON.stringify(errors));
      return tests.map(({ annotations }) => annotations.find(({ type }) => type === 'identity').description);
    };
    const first = identities();
    assert.equal(new Set(first.flatMap((text) => text.split(' '))).size, 8);
    assert.match(first[0], /^test-1-[0-9a-f]{8} agent-/);
    assert.deepEqual(identities({}, 'npx gatelet run --'), first, 'on one server for all workers too');
  });

  test('Playwright: a test that fails shows what happened, and its namespace can be kept', () => {
    write(
      'playwright/failing.pw.mjs',
      `import { expect, test } from "gatelet/playwright";
      ${SAY}
      test.use({ gateletOptions: { seed: ${SEED} } });
      test("fails", async ({ gatelet }) => {
        await say(gatelet, "Hello");
        await expect(gatelet).toHaveReceived("StreamMessage", { times: 2, within: "10ms" });
      });
      test("passes", async ({ gatelet }) => { await say(gatelet, "Hello"); });`,
    );
    write(
      'playwright/kept.mjs',
      `import { connectGatelet } from "gatelet";
      console.error("KEPT " + (await (await connectGatelet()).namespaces()).map(({ name }) => name).filter((name) => name !== "default"));`,
    );
    const keeping = (keep) => {
      const command = `npx gatelet run -- sh -c 'npx playwright test --config playwright/config.mjs failing.pw.mjs; node playwright/kept.mjs'`;
      return /KEPT (.*)/.exec(run(folder(), command, { GATELET_KEEP: keep }).stderr)[1].split(',').filter(Boolean);
    };
    assert.match(keeping('failed').join(), /^fails-\w+$/);
    assert.equal(keeping('').length, 0);

    const { fails: failed, passes: passed } = playwright('failing.pw.mjs');
    assert.match(failed.errors[0].message, /found 1/);
    const attached = Object.fromEntries(failed.attachments.map(({ name, body }) => [name, Buffer.from(body ?? '', 'base64').toString()]));
    const journal = JSON.parse(attached['gatelet-journal']);
    assert.equal(journal[0].operation, 'StreamMessage');
    assert.match(attached['gatelet-frames'], /assistant_message/);
    assert.deepEqual(passed.attachments, []);
  });

  test('Playwright: what nothing used fails a test that is strict', (t) => {
    if (!has('replies')) return t.skip('the program has no replies at run time');
    write(
      'playwright/strict.pw.mjs',
      `import { expect, test } from "gatelet/playwright";
      ${SAY}
      test.use({ gateletOptions: { seed: ${SEED} } });
      test("unused", async ({ gatelet }) => { await gatelet.reply(/weather/, "Sunny.", { id: "weather" }); });
      test("used", async ({ gatelet }) => {
        await gatelet.reply(/weather/i, "Sunny.", { id: "weather" });
        await gatelet.reply("time", [{ assistant: "Noon." }]);
        expect(await say(gatelet, "The WEATHER?")).toContain("Sunny.");
        expect(await say(gatelet, "What time is it?")).toContain("Noon.");
      });
      test.describe(() => {
        test.use({ gateletOptions: { seed: ${SEED}, strict: false, replies: [{ text: "x", steps: [{ assistant: "y" }] }, [/z/, "z"]] } });
        test("lenient", async ({ gatelet }) => { expect((await gatelet.replies()).length).toBe(2); });
      });`,
    );
    const { unused, used, lenient } = playwright('strict.pw.mjs');
    assert.equal(unused.status, 'failed');
    assert.match(unused.errors[0].message, /The reply "weather" was never used/);
    for (const test of [used, lenient]) assert.equal(test.status, 'passed', JSON.stringify(test.errors));
  });

  test('Vitest: replies of the suite are there for each test, and those of a test are not', (t) => {
    if (!has('replies')) return t.skip('the program has no replies at run time');
    write(
      'replies.test.mjs',
      `import { useGatelet } from "gatelet/vitest"; import { expect, test } from "vitest";
      ${SAY}
      const gatelet = useGatelet({ seed: ${SEED}, replies: [["weather", "Sunny."]] });
      for (const nth of [1, 2]) {
        test("test " + nth, async () => {
          expect((await gatelet().replies()).length).toBe(1);
          await gatelet().reply("time", "Noon.");
          expect(await say(gatelet(), "weather")).toContain("Sunny.");
          expect(await say(gatelet(), "time")).toContain("Noon.");
        });
      }
      test("unused", () => {});`,
    );
    const { output } = fails('npx vitest run replies.test.mjs');
    assert.match(output, /was never used/);
    assert.match(output, /1 failed \| 2 passed/);
  });

  test('types: what a user writes is checked, and mistakes are found', () => {
    write(
      'types/sample.mts',
      `import { connectGatelet, forwardNamespace, GateletError, startGatelet, type Namespace } from "gatelet";
      import { tokenFetch } from "gatelet/browser";
      import { expect, test } from "gatelet/playwright";
      import { useGatelet } from "gatelet/vitest";
      import setup from "gatelet/vitest/setup";
      import { useGatelet as useInJest } from "gatelet/jest";
      import { GateletContainer } from "gatelet/testcontainers";
      import { expect as expectVitest } from "vitest";
      import Letta from "@letta-ai/letta-client";

      new Letta({ fetch: tokenFetch({ fetchToken: () => fetch("/token", { method: "POST" }), baseURL: "x" }) });
      new Letta({ fetch: tokenFetch({ fetchToken: async () => ({ token: "t", expiresAt: new Date() }), token: "t" }) });
      new Letta({ fetch: forwardNamespace(() => "gatelet-ns=a") });
      test.use({ gateletOptions: { seed: "seed.toml", strict: false } });
      test("x", async ({ page, gatelet, server }) => {
        await gatelet.advance("6m", { page });
        await expect(gatelet).toHaveReceived("StreamMessage", { caller: "client_token", times: { min: 1 } });
        await gatelet.reply(/weather/, { assistant: "Sunny." }, { times: 1 });
        const other: Namespace = await server.namespace({ replies: [["a", "b"], { user: /x/, steps: [] }] });
        const token: string = await other.token("helper", ["write_messages"], { origin: "http://localhost:3000" });
        await expect(page.getByRole("textbox")).toHaveText(token);
      });
      const gatelet = useGatelet({ seed: { agent: [] }, patchEnv: true });
      await expectVitest(gatelet()).toHaveReceived("SendMessage");
      const server = await startGatelet({ seed: new URL("file:///x") });
      try { await (await connectGatelet()).stop(); } catch (error) { if (error instanceof GateletError) error.code?.length; }
      const container = await new GateletContainer("gatelet:0.1.0").withSeed("seed.toml").withReuse().start();
      (await container.namespace({ seed: "seed.toml" })).name satisfies string;
      // @ts-expect-error
      await startGatelet({ sede: "x" });
      // @ts-expect-error
      await gatelet().token("helper", ["write_messages"]);
      // @ts-expect-error
      tokenFetch({});
      // @ts-expect-error
      await expect(gatelet()).toHaveReceived("SendMessage", { times: "once" });
      void [server, setup, useInJest({ seed: "seed.toml" })().refs];`,
    );
    write('types/sample.cts', `import gatelet = require("gatelet"); import playwright = require("gatelet/playwright"); import browser = require("gatelet/browser"); import jest = require("gatelet/jest");
      export const all = [gatelet.startGatelet, playwright.test, browser.tokenFetch, jest.useGatelet];`);
    const options = { module: 'nodenext', target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable', 'esnext.disposable'], strict: true, noEmit: true, skipLibCheck: true, types: ['node'] };
    write('types/tsconfig.json', JSON.stringify({ compilerOptions: options, include: ['sample.mts', 'sample.cts'] }));
    passes('npx tsc --project types');
  });
}
