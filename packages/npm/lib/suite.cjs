"use strict";
// One namespace for the tests of a file, which begins again after each of them: for Vitest and Jest.

const { problemsOf, failure } = require("./judge.cjs");
const { openGatelet, connectGatelet } = require("./server.cjs");

/** Makes `useGatelet` from the hooks of a test runner; `shared()` is a server that the runner started for all files. */
function suite({ beforeAll, afterEach, afterAll, shared = () => undefined }) {
  return function useGatelet({ server: options = {}, strict = true, patchEnv = false, ...begin } = {}) {
    let server, namespace, environment;

    beforeAll(async () => {
      const running = shared();
      server = running ? await connectGatelet({ ...running, seed: options.seed }) : await openGatelet(options);
      namespace = await server.namespace(begin);
      if (!patchEnv) return;
      environment = Object.keys(namespace.env).map((name) => [name, process.env[name]]);
      Object.assign(process.env, namespace.env);
    });

    afterEach(async () => {
      if (!namespace) return;
      const problems = strict ? await problemsOf(namespace) : [];
      // Back to the seed, replies and faults that the namespace began with.
      await namespace.reset();
      if (problems.length) throw new Error(failure(problems));
    });

    afterAll(async () => {
      for (const [name, value] of environment ?? []) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      await namespace?.delete();
      await server?.stop();
    });

    return () => {
      if (!namespace) throw new Error("useGatelet: the namespace exists from beforeAll on; ask for it in a test or a hook");
      return namespace;
    };
  };
}

module.exports = { suite };
