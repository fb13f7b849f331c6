"use strict";
// Finds the program: GATELET_BINARY, or the package for this platform.

const { accessSync, constants, existsSync, readdirSync } = require("node:fs");
const { dirname, join } = require("node:path");

/** The platforms that have a package, as `process.platform` and `process.arch` name them. */
const PLATFORMS = ["darwin-arm64", "darwin-x64", "linux-arm64", "linux-x64"];

/** Returns the path of the program, or throws an error that says what to do. */
function binaryPath() {
  const named = process.env.GATELET_BINARY;
  if (named) {
    try {
      accessSync(named, constants.X_OK);
    } catch (error) {
      throw new Error(`GATELET_BINARY names ${named}, which is not a program that can be run (${error.code}).`);
    }
    return named;
  }
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) throw new Error(noPackage(platform));
  try {
    return join(dirname(require.resolve(`@gatelet/${platform}/package.json`)), "bin", "gatelet");
  } catch {
    throw new Error(isMusl() ? alpine(platform) : missing(platform));
  }
}

/** What to say when the program exists but does not start. */
function cannotStart(path, error) {
  // A program whose dynamic loader is missing is "not found" itself.
  if (error.code === "ENOENT" && existsSync(path) && isMusl()) return alpine(`${process.platform}-${process.arch}`);
  return `${path} cannot be started (${error.code ?? error.message}).`;
}

function noPackage(platform) {
  const advice =
    process.platform === "win32"
      ? "Gatelet does not run on Windows itself; use it in WSL."
      : `Packages exist for ${PLATFORMS.join(", ")}. Build it with cargo, and name it with GATELET_BINARY.`;
  return `There is no package of Gatelet for ${platform}. ${advice}`;
}

function missing(platform) {
  return (
    `The package @gatelet/${platform}, which contains the program, is not installed. ` +
    `Either optional dependencies were left out (--omit=optional, --no-optional), or npm left it out because the lock ` +
    `file was made on another platform (https://github.com/npm/cli/issues/4828): delete node_modules and ` +
    `package-lock.json, and run "npm install" again. Or name the program with GATELET_BINARY.`
  );
}

function alpine(platform) {
  return (
    `The package @gatelet/${platform} does not run on a system with musl, such as Alpine: its program needs glibc. ` +
    `Use an image with glibc, such as node:22-slim, or build Gatelet there with cargo and name it with GATELET_BINARY.`
  );
}

function isMusl() {
  if (process.platform !== "linux") return false;
  const loaders = ["/lib", "/lib64"].flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []));
  return loaders.some((name) => name.startsWith("ld-musl-")) && !loaders.some((name) => name.startsWith("ld-linux-"));
}

module.exports = { binaryPath, cannotStart };
