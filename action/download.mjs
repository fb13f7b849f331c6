// Downloads the program of a release, and believes it only with a checksum from the workflow or the release's attestation.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const REPOSITORY = "gatelet/gatelet";

/** The path of the program. */
export async function download({ version, releases, sha256, token, folder }) {
  if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version)) {
    throw new Error(`The version is ${version}; give one such as 0.1.0, without a v, and never latest.`);
  }
  const name = `gatelet-${version}-${platform()}.tar.gz`;
  const archive = await get(`${releases}/v${version}/${name}`);
  const actual = createHash("sha256").update(archive).digest("hex");
  const expected = sha256.toLowerCase() || checksum(String(await get(`${releases}/v${version}/SHA256SUMS`)), name);
  if (actual !== expected) throw new Error(`The SHA-256 of ${name} is ${actual}, and should be ${expected}.`);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  writeFileSync(path, archive);
  if (!sha256) attest(path, version, token, actual);
  run("tar", ["-xzf", path, "-C", folder]);
  return join(folder, "gatelet");
}

function platform() {
  const os = { linux: "linux", darwin: "darwin" }[process.platform];
  const cpu = { x64: "x64", arm64: "arm64" }[process.arch];
  if (os && cpu) return `${os}-${cpu}`;
  throw new Error(`There is no Gatelet for ${process.platform} on ${process.arch}; on Windows, run the job in WSL.`);
}

async function get(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(120_000) });
  if (!response.ok) throw new Error(`${url} cannot be downloaded: ${response.status} ${response.statusText}`);
  return Buffer.from(await response.arrayBuffer());
}

function checksum(sums, name) {
  const line = sums.split("\n").find((line) => line.endsWith(`  ${name}`));
  if (!line) throw new Error(`The release has no checksum of ${name}.`);
  return line.split(" ")[0];
}

/** A checksum beside the archive says nothing about who put both there; the attestation does. */
function attest(path, version, token, actual) {
  const workflow = `${REPOSITORY}/.github/workflows/release.yml`;
  const args = ["attestation", "verify", path, "--repo", REPOSITORY, "--signer-workflow", workflow];
  try {
    run("gh", [...args, "--source-ref", `refs/tags/v${version}`], { GH_TOKEN: token });
  } catch (error) {
    throw new Error(`The attestation of the release cannot be verified; set sha256 to ${actual} if you trust it. ${error.message}`);
  }
}

function run(command, args, env = {}) {
  const options = { env: { ...process.env, ...env }, encoding: "utf8" };
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? (stderr || stdout).trim()}`);
}
