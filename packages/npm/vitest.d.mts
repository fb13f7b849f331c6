import "vitest";
import type { GateletError, Namespace, NamespaceOptions, ReceivedOptions, StartOptions } from "./index.cjs";
export { GateletError, connectGatelet, startGatelet } from "./index.cjs";

export interface SuiteOptions extends NamespaceOptions {
  /** How the server is started. GATELET_URL, or gatelet/vitest/setup, takes precedence. */
  server?: StartOptions;
  /** Whether findings of severity error, unused replies and unused faults fail a test: `true` by default. */
  strict?: boolean;
  /** Sets LETTA_BASE_URL and LETTA_API_KEY in `process.env`, for code that reads them when a test runs. */
  patchEnv?: boolean;
}

/** Gives the tests of this file a namespace, which begins again after each test. Returns what gets it. */
export function useGatelet(options?: SuiteOptions): () => Namespace;

interface GateletMatchers<R> {
  toHaveReceived(operation: string, options?: ReceivedOptions): Promise<R>;
}

declare module "vitest" {
  // From version 3.2 on, and before.
  interface Matchers<T = any> extends GateletMatchers<T> {}
  interface Assertion<T = any> extends GateletMatchers<T> {}
  interface ProvidedContext {
    gatelet: { url: string; apiKey: string };
  }
}
