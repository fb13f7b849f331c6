// Packs what goes to npm: `node pack.mjs BINARY OUTDIR` writes gatelet-X.tgz and the package of the binary's platform,
// such as gatelet-linux-x64-X.tgz, and prints their names.

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const LICENSE = join(HERE, "../../LICENSE");

const [binary, out] = process.argv.slice(2);
if (!out) fail("usage: node pack.mjs BINARY OUTDIR");
mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(tmpdir(), "gatelet-pack-"));
try {
  console.log(pack(stageMain()));
  console.log(pack(stagePlatform()));
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The package `gatelet`: this folder, with the licence and the CommonJS form of the module for pages. */
function stageMain() {
  const folder = join(work, "main");
  cpSync(HERE, folder, { recursive: true, filter: (path) => !path.includes("node_modules") });
  copyFileSync(LICENSE, join(folder, "LICENSE"));
  const module = readFileSync(join(HERE, "browser/index.mjs"), "utf8");
  const exported = [...module.matchAll(/^export function (\w+)/gm)].map(([, name]) => name);
  const script = `"use strict";\n${module.replace(/^export /gm, "")}\nmodule.exports = { ${exported.join(", ")} };\n`;
  writeFileSync(join(folder, "browser/index.cjs"), script);
  return folder;
}

/** The package of a platform: the program, and for which machines it is. */
function stagePlatform() {
  const program = readFileSync(binary);
  const { os, cpu, libc } = platformOf(program) ?? fail(`${binary} is no program for Linux or macOS on x64 or arm64`);
  const { version, license, repository } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  const folder = join(work, "platform");
  mkdirSync(join(folder, "bin"), { recursive: true });
  copyFileSync(binary, join(folder, "bin/gatelet"));
  chmodSync(join(folder, "bin/gatelet"), 0o755);
  copyFileSync(LICENSE, join(folder, "LICENSE"));
  const name = `@gatelet/${os}-${cpu}`;
  const description = `The program of the package gatelet, for ${os} on ${cpu}`;
  const machines = { os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) };
  // A program cannot be run from within an archive, where Yarn would leave it.
  const manifest = { name, version, description, license, repository, ...machines, files: ["bin"], preferUnplugged: true };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, null, 2));
  writeFileSync(join(folder, "README.md"), `${description}. Install \`gatelet\`, which depends on it.\n`);
  return folder;
}

/** The platform that a program is for, from its header. */
function platformOf(program) {
  if (program.toString("latin1", 0, 4) === "\x7fELF") {
    const cpu = { 62: "x64", 183: "arm64" }[program.readUInt16LE(18)];
    const loader = interpreterOf(program);
    return cpu && { os: "linux", cpu, libc: loader && (loader.includes("ld-musl") ? "musl" : "glibc") };
  }
  const isMachO = program.length > 8 && program.readUInt32LE(0) === 0xfeedfacf;
  const cpu = isMachO && { 0x01000007: "x64", 0x0100000c: "arm64" }[program.readUInt32LE(4)];
  return cpu ? { os: "darwin", cpu } : undefined;
}

/** The dynamic loader that a 64-bit ELF file asks for; a static one asks for none. */
function interpreterOf(program) {
  const [start, size, count] = [Number(program.readBigUInt64LE(32)), program.readUInt16LE(54), program.readUInt16LE(56)];
  for (let header = start; header < start + size * count; header += size) {
    if (program.readUInt32LE(header) !== 3) continue;
    const [at, length] = [header + 8, header + 32].map((place) => Number(program.readBigUInt64LE(place)));
    return program.toString("latin1", at, at + length);
  }
}

/** Packs a folder without running any script of it, and returns the name of the archive. */
function pack(folder) {
  const args = ["pack", folder, "--ignore-scripts", "--json", "--pack-destination", resolve(out)];
  const { status, stdout, stderr, error } = spawnSync("npm", args, { encoding: "utf8" });
  if (status !== 0) fail(`npm pack failed: ${error ?? stderr}`);
  const [{ filename }] = JSON.parse(stdout);
  return filename;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
