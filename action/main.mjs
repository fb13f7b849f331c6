// The step that starts Gatelet; post.mjs stops it when the job ends.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { download } from "./download.mjs";
import { fail, input, mask, output, save, variable } from "./github.mjs";

const START_SECONDS = 30;

try {
  await main();
} catch (error) {
  fail(error.message);
}

async function main() {
  if (!["error", "warn", "never"].includes(input("fail-on"))) {
    throw new Error(`fail-on is ${input("fail-on")}; it may be error, warn or never.`);
  }
  const folder = mkdtempSync(join(process.env.RUNNER_TEMP ?? tmpdir(), "gatelet-"));
  const program = input("binary") ? resolve(input("binary")) : await download({
    version: input("version"),
    releases: input("releases").replace(/\/$/, ""),
    sha256: input("sha256"),
    token: input("token"),
    folder,
  });
  const key = `sk-let-${randomBytes(24).toString("hex")}`;
  mask(key);
  const url = await start(program, key, folder);
  save("key", key);
  save("url", url);
  output("base-url", url);
  output("api-key", key);
  output("control-url", `${url}/_gatelet/v1`);
  for (const [name, value] of Object.entries({ LETTA_BASE_URL: url, LETTA_API_KEY: key, GATELET_URL: url, GATELET_KEY: key })) {
    variable(name, value);
  }
  console.log(`Gatelet listens on ${url}.`);
}

/** Starts the program on its own, since this step ends before it. Returns its URL. */
async function start(program, key, folder) {
  const [out, log] = [join(folder, "out"), join(folder, "log")];
  const args = ["serve", "--ephemeral", "--control", "--log-format", "json", "--listen", input("listen")];
  for (const name of ["seed", "script"]) if (input(name)) args.push(`--${name}`, resolve(input(name)));
  args.push(...input("args").split(/\s+/).filter(Boolean));
  const child = spawn(program, args, {
    detached: true,
    env: { ...process.env, GATELET_BOOTSTRAP_API_KEY: key },
    stdio: ["ignore", openSync(out, "w"), openSync(log, "w")],
  });
  let ended;
  child.on("error", (error) => (ended = error.message));
  child.on("exit", (code, signal) => (ended ??= `it ended with ${code ?? signal}`));
  if (child.pid) save("pid", child.pid);
  const deadline = Date.now() + START_SECONDS * 1000;
  for (;;) {
    const [line, rest] = readFileSync(out, "utf8").split("\n");
    if (rest !== undefined) {
      child.unref();
      return JSON.parse(line).url;
    }
    ended ??= Date.now() > deadline ? `it was not ready within ${START_SECONDS} s` : undefined;
    if (ended) throw new Error(`Gatelet did not start: ${ended}\n${readFileSync(log, "utf8")}`);
    await pause(10);
  }
}
