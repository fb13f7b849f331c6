import type { Namespace, NamespaceOptions, ReceivedOptions, StartOptions } from "./index.cjs";
export { GateletError, connectGatelet, startGatelet } from "./index.cjs";

export interface SuiteOptions extends NamespaceOptions {
  /** How the server is started. GATELET_URL takes precedence. */
  server?: StartOptions;
  /** Whether findings of severity error, unused replies and unused faults fail a test: `true` by default. */
  strict?: boolean;
  /** Sets LETTA_BASE_URL and LETTA_API_KEY in `process.env`, for code that reads them when a test runs. */
  patchEnv?: boolean;
}

/** Gives the tests of this file a namespace, which begins again after each test. Returns what gets it. */
export function useGatelet(options?: SuiteOptions): () => Namespace;

declare global {
  namespace jest {
    interface Matchers<R> {
      toHaveReceived(operation: string, options?: ReceivedOptions): Promise<R>;
    }
  }
}
