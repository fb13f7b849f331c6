"use strict";
// What a test must not leave behind: findings about the client, and replies and faults that nothing used.

/** The problems of a namespace as sentences. A server that cannot tell has none. */
async function problemsOf(namespace) {
  const has = (feature) => namespace.server.features.includes(feature);
  const problems = [];
  if (has("verdicts")) {
    for (const { rule, severity, sentence, fix, allowed, evidence } of (await namespace.verdicts("error")).findings) {
      if (severity !== "error" || allowed) continue;
      const entries = evidence?.length ? ` (journal: ${evidence.join(", ")})` : "";
      problems.push(`${rule}: ${[sentence, fix].filter(Boolean).join(" ")}${entries}`);
    }
  }
  if (has("replies")) {
    const { replies = [], faults = [] } = await namespace.unused();
    for (const id of replies) problems.push(`The reply "${id}" was never used.`);
    for (const id of faults) problems.push(`The fault "${id}" never fired.`);
  }
  return problems;
}

/** The message of a test that fails because of them. */
function failure(problems) {
  const hint = "Allow a rule with allow(rule, reason), or turn this check off with strict: false.";
  return `Gatelet found ${problems.length === 1 ? "a problem" : "problems"} in this test:\n- ${problems.join("\n- ")}\n${hint}`;
}

module.exports = { failure, problemsOf };
