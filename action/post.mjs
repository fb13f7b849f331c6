// The step at the end of the job: what the client did wrong goes into the summary, the journal of a job that failed into an
// artifact, and Gatelet stops.

import { setTimeout as pause } from "node:timers/promises";

import { upload } from "./artifact.mjs";
import { fail, input, saved, summary, warn } from "./github.mjs";

const STOP_SECONDS = 15;
const SEVERITIES = { never: [], error: ["error"], warn: ["warn", "error"] };

const [pid, url, key] = [Number(saved("pid")), saved("url"), saved("key")];
try {
  if (url) await report();
} catch (error) {
  warn(`Gatelet cannot be asked for its verdicts: ${error.message}`);
} finally {
  if (pid) await stop();
}

async function report() {
  const { features } = await control("");
  const { namespaces } = await control("/ns");
  if (features.includes("verdicts")) await judge(namespaces);
  if (input("job-status") === "failure") await keepJournals(namespaces);
}

async function judge(namespaces) {
  const rows = [];
  for (const { name } of namespaces) {
    const { findings } = await control(`/ns/${encodeURIComponent(name)}/verdicts`);
    rows.push(...findings.map((finding) => ({ namespace: name, ...finding })));
  }
  if (!rows.length) return;
  const cells = rows.map(({ namespace, rule, severity, sentence, fix, allowed }) =>
    [namespace, allowed ? `${severity}, allowed: ${allowed}` : severity, rule, `${sentence} ${fix}`].map(cell).join(" | "),
  );
  const head = ["namespace | severity | rule | finding", "--- | --- | --- | ---"];
  summary(["### Gatelet: the client under test", "", ...head, ...cells, ""].join("\n"));
  const failing = rows.filter(({ severity, allowed }) => SEVERITIES[input("fail-on")]?.includes(severity) && !allowed);
  if (failing.length) fail(`The client under test has ${failing.length} findings; the summary has them.`);
}

async function keepJournals(namespaces) {
  const files = {};
  for (const { name } of namespaces) {
    const { entries } = await control(`/ns/${encodeURIComponent(name)}/journal`);
    if (entries.length) files[`${name}.json`] = JSON.stringify(entries, null, 2);
  }
  if (!Object.keys(files).length) return;
  try {
    await upload(`gatelet-journal-${process.env.GITHUB_JOB ?? "job"}-${pid}`, files);
  } catch (error) {
    warn(`The journal cannot be uploaded: ${error.message}`);
  }
}

/** Stops it, and by force if it does not end. */
async function stop() {
  const deadline = Date.now() + STOP_SECONDS * 1000;
  let signal = "SIGTERM";
  try {
    for (;;) {
      process.kill(pid, signal);
      await pause(20);
      signal = Date.now() > deadline ? "SIGKILL" : 0;
    }
  } catch {
    // It has ended.
  }
}

async function control(path) {
  const response = await fetch(`${url}/_gatelet/v1${path}`, { headers: { authorization: `Bearer ${key}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

function cell(text) {
  return String(text).replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;");
}
