"use strict";
// Seeds: an object, the path of a file, or a list of them.

const { readdirSync, readFileSync, statSync } = require("node:fs");
const { basename, extname, join } = require("node:path");

/** Reads a seed into what calls of the control API take: values for JSON, or `{ toml }`. */
function readSeed(seed) {
  if (seed === undefined || seed === null) return [];
  if (Array.isArray(seed)) return seed.flatMap(readSeed);
  if (typeof seed !== "string" && !(seed instanceof URL)) return [seed];
  if (statSync(seed).isDirectory()) return readFolder(String(seed));
  const text = readFileSync(seed, "utf8");
  const name = seed instanceof URL ? seed.pathname : seed;
  switch (extname(name)) {
    case ".toml":
      return [{ toml: text }];
    case ".af":
      return [{ agent: [{ ref: basename(name, ".af"), agent_file: JSON.parse(text) }] }];
    default:
      return [JSON.parse(text)];
  }
}

/** The files of a folder in the order of their names, agent files last. */
function readFolder(folder) {
  const names = readdirSync(folder).filter((name) => [".toml", ".json", ".af"].includes(extname(name)));
  const isAgent = (name) => Number(extname(name) === ".af");
  names.sort((one, other) => isAgent(one) - isAgent(other) || (one < other ? -1 : 1));
  return names.flatMap((name) => readSeed(join(folder, name)));
}

module.exports = { readSeed };
