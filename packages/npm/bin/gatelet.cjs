#!/usr/bin/env node
"use strict";
// Runs the program with the same arguments, streams, signals and exit code.

const { spawn } = require("node:child_process");
const { binaryPath, cannotStart } = require("../lib/binary.cjs");

function fail(message) {
  process.stderr.write(`gatelet: ${message}\n`);
  process.exit(1);
}

let path;
try {
  path = binaryPath();
} catch (error) {
  fail(error.message);
}
const child = spawn(path, process.argv.slice(2), { stdio: "inherit" });
child.on("error", (error) => fail(cannotStart(path, error)));
// A terminal sends its signals to the child as well, which takes a second one to mean that it should hurry.
const isForeground = process.stdin.isTTY;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) {
  process.on(signal, () => {
    if (!(isForeground && signal !== "SIGTERM")) child.kill(signal);
  });
}
child.on("exit", (code, signal) => {
  if (!signal) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
