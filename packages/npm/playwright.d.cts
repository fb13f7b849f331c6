import type { Expect, PlaywrightTestArgs, PlaywrightTestOptions, PlaywrightWorkerArgs, PlaywrightWorkerOptions, TestType } from "@playwright/test";
import type { GateletServer, Namespace, NamespaceOptions, ReceivedOptions, StartOptions } from "./index.cjs";
export { forwardNamespace } from "./index.cjs";

export interface GateletFixtures {
  /** The namespace of this test. */
  gatelet: Namespace;
  /** What the namespace begins with, for `test.use()`. */
  gateletOptions: NamespaceOptions & {
    /** Whether findings of severity error, unused replies and unused faults fail the test: `true` by default. */
    strict?: boolean;
  };
}

export interface GateletWorkerFixtures {
  /** The server of this worker, or the one that GATELET_URL names. */
  server: GateletServer;
  /** How the server is started, for `use` in the configuration. */
  serverOptions: StartOptions;
}

export const test: TestType<
  PlaywrightTestArgs & PlaywrightTestOptions & GateletFixtures,
  PlaywrightWorkerArgs & PlaywrightWorkerOptions & GateletWorkerFixtures
>;

export const expect: Expect<{
  toHaveReceived(
    this: unknown,
    namespace: Namespace,
    operation: string,
    options?: ReceivedOptions,
  ): Promise<{ pass: boolean; message: () => string }>;
}>;
