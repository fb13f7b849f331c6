// Serves the files of one folder, and nothing else.

import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
};

/** Makes a handler for the files below `folder` (a file URL that ends in a slash). */
export function staticFiles(folder) {
  const root = fileURLToPath(folder);
  return async function serve(pathname, response) {
    const name = pathname === '/' ? '/index.html' : pathname;
    const type = TYPES[extname(name)];
    const content = type && (await read(name));
    if (!content) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"message":"There is nothing here."}');
      return;
    }
    response.writeHead(200, { 'content-type': type }).end(content);
  };

  async function read(name) {
    try {
      const path = fileURLToPath(new URL(`.${name}`, folder));
      // The URL parser has resolved dot segments, and an encoded slash has thrown. What led out of the folder is not read.
      return path.startsWith(root) ? await readFile(path) : undefined;
    } catch {
      return undefined;
    }
  }
}
