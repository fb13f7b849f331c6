// Uploads files as an artifact of the run, by the service that the runner names (version 4 of the artifacts).

import { createHash } from "node:crypto";
import { crc32, deflateRawSync } from "node:zlib";

const SERVICE = "twirp/github.actions.results.api.v1.ArtifactService";

/** Uploads texts, by their names, as one artifact. */
export async function upload(name, files) {
  const { ACTIONS_RUNTIME_TOKEN: token, ACTIONS_RESULTS_URL: results } = process.env;
  if (!token || !results) throw new Error("the runner offers no artifacts");
  const run = runOf(token);
  const archive = zip(files);
  const { signed_upload_url: target } = await call("CreateArtifact", { ...run, name, version: 4 });
  const headers = { "content-type": "application/zip", "x-ms-blob-type": "BlockBlob" };
  const response = await fetch(target, { method: "PUT", headers, body: archive });
  if (!response.ok) throw new Error(`the upload is refused: ${response.status}`);
  const hash = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
  await call("FinalizeArtifact", { ...run, name, size: String(archive.length), hash });

  async function call(method, body) {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const url = new URL(`${SERVICE}/${method}`, results.endsWith("/") ? results : `${results}/`);
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = response.ok ? await response.json() : {};
    if (!answer.ok) throw new Error(`${method} is refused: ${response.status}`);
    return answer;
  }
}

/** The ids of run and job are in the scope of the runner's token. */
function runOf(token) {
  const { scp } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  const [, run, job] = scp.split(" ").find((scope) => scope.startsWith("Actions.Results:")).split(":");
  return { workflow_run_backend_id: run, workflow_job_run_backend_id: job };
}

/** A ZIP archive of texts. */
function zip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const [path, content] = [Buffer.from(name), Buffer.from(text)];
    const packed = deflateRawSync(content);
    // From the version that is needed to the length of the extra field; UTF-8 names, deflated, 1980-01-01.
    const fields = Buffer.alloc(26);
    [20, 0x0800, 8, 0, 0x21].forEach((value, index) => fields.writeUInt16LE(value, 2 * index));
    [crc32(content), packed.length, content.length].forEach((value, index) => fields.writeUInt32LE(value, 10 + 4 * index));
    fields.writeUInt16LE(path.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, path, packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), fields, rest, path);
    parts.push(local);
    offset += local.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  const count = Object.keys(files).length;
  [count, count].forEach((value, index) => end.writeUInt16LE(value, 4 + 2 * index));
  end.writeUInt32LE(entries.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, entries, Buffer.from("PK\x05\x06"), end]);
}
