// A `globalSetup` for Vitest: one server for all files, instead of one for each.

import server from "./lib/server.cjs";

export default async function setup(project) {
  const gatelet = await server.openGatelet();
  project.provide("gatelet", { url: gatelet.url, apiKey: gatelet.apiKey });
  return () => gatelet.stop();
}
