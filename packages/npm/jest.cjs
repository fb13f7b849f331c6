"use strict";
// For Jest: one namespace for the tests of a file. `expect(namespace).toHaveReceived(...)` is there as well.

const { GateletError, connectGatelet, startGatelet } = require("./index.cjs");
const { toHaveReceived } = require("./lib/matcher.cjs");
const { suite } = require("./lib/suite.cjs");

// Without `injectGlobals` they are in a module, which Jest resolves in a test file only.
const { afterAll, afterEach, beforeAll, expect } = globalThis.beforeAll ? globalThis : require("@jest/globals");
expect.extend({ toHaveReceived });

const useGatelet = suite({ beforeAll, afterEach, afterAll });

module.exports = { GateletError, connectGatelet, startGatelet, useGatelet };
