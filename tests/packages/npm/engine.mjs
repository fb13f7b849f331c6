// A stand-in for a Docker engine: of its API, as much as Testcontainers needs for one container, and the real program as
// the only image.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { BINARY } from './install.mjs';

const ID = '0'.repeat(64);

export async function startEngine() {
  const engine = { created: undefined, removed: false, requests: [] };
  const root = mkdtempSync(join(tmpdir(), 'engine-'));
  let program, port;

  /** Starts the program with the environment of the container, whose files are below `root`. */
  async function start() {
    const variables = Object.fromEntries(engine.created.Env.map((pair) => pair.split(/=(.*)/s)));
    for (const name of ['GATELET_SEED', 'GATELET_SCRIPT']) if (variables[name]) variables[name] = join(root, variables[name]);
    const env = { ...variables, PATH: process.env.PATH, GATELET_LISTEN: '127.0.0.1:0' };
    program = spawn(BINARY, ['serve', '--log-format', 'json'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    const [line] = await once(createInterface({ input: program.stdout }), 'line');
    port = new URL(JSON.parse(line).url).port;
  }

  async function stop() {
    if (!program) return;
    program.kill();
    await once(program, 'exit');
    program = undefined;
  }

  const describe = () => ({
    Id: ID,
    Name: '/it',
    Config: { Image: engine.created.Image, Labels: engine.created.Labels },
    State: { Status: program ? 'running' : 'exited', Running: Boolean(program) },
    NetworkSettings: { Ports: { '8283/tcp': [{ HostIp: '127.0.0.1', HostPort: port }] }, Networks: {} },
  });

  const calls = {
    'GET /info': () => [200, { ServerVersion: '27.0.0', OperatingSystem: 'made up', OSType: 'linux', Architecture: 'x86_64', MemTotal: 0 }],
    'GET /images/[^?]+/json': () => [200, { Id: `sha256:${ID}` }],
    'GET /containers/json': () => [200, []],
    'POST /containers/create': (body) => {
      engine.created = JSON.parse(body);
      return [201, { Id: ID, Warnings: [] }];
    },
    'PUT /containers/\\w+/archive': (body) => {
      spawnSync('tar', ['-x', '-C', root], { input: body });
      return [200];
    },
    'POST /containers/\\w+/start': async () => {
      await start();
      return [204];
    },
    'GET /containers/\\w+/json': () => [200, describe()],
    'POST /containers/\\w+/stop': async () => {
      await stop();
      return [204];
    },
    'DELETE /containers/\\w+': () => {
      engine.removed = true;
      return [204];
    },
  };

  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const asked = `${request.method} ${request.url.replace(/^\/v[\d.]+/, '').split('?')[0]}`;
    engine.requests.push(asked);
    const call = Object.entries(calls).find(([pattern]) => new RegExp(`^${pattern}$`).test(asked))?.[1];
    const [status, content] = (await call?.(body)) ?? [404, { message: `${asked} is not made up` }];
    response.writeHead(status, { 'content-type': 'application/json' }).end(content && JSON.stringify(content));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  engine.address = `tcp://127.0.0.1:${server.address().port}`;
  engine.close = async () => {
    await stop();
    server.closeAllConnections();
    server.close();
    rmSync(root, { recursive: true, force: true });
  };
  return engine;
}
