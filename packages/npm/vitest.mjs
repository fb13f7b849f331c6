// For Vitest: one namespace for the tests of a file. `expect(namespace).toHaveReceived(...)` is there as well.

import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import matcher from "./lib/matcher.cjs";
import { suite } from "./lib/suite.cjs";

expect.extend(matcher);

/** The server of gatelet/vitest/setup, if the configuration names it. */
const shared = () => inject("gatelet");

export const useGatelet = suite({ beforeAll, afterEach, afterAll, shared });
export { GateletError, connectGatelet, startGatelet } from "./index.cjs";
