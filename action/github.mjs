// What the runner of GitHub Actions gives to an action and takes from it: variables, and files to append to.

import { appendFileSync } from "node:fs";
import { randomUUID } from "node:crypto";

/** An input, as action.yml names it. */
export const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] ?? "").trim();

/** What the main step saved for the post step. */
export const saved = (name) => process.env[`STATE_${name}`] ?? "";

export const save = (name, value) => append("GITHUB_STATE", entry(name, value));
export const output = (name, value) => append("GITHUB_OUTPUT", entry(name, value));
export const variable = (name, value) => append("GITHUB_ENV", entry(name, value));
export const summary = (markdown) => append("GITHUB_STEP_SUMMARY", `${markdown}\n`);

/** Keeps a text out of the log. */
export const mask = (text) => console.log(`::add-mask::${text}`);

export const warn = (message) => console.log(`::warning::${escaped(message)}`);

/** Ends the step, and so the job, with a sentence. */
export function fail(message) {
  console.log(`::error::${escaped(message)}`);
  process.exitCode = 1;
}

function append(file, text) {
  if (process.env[file]) appendFileSync(process.env[file], text);
}

function entry(name, value) {
  const end = `end-${randomUUID()}`;
  return `${name}<<${end}\n${value}\n${end}\n`;
}

const escaped = (text) => String(text).replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
