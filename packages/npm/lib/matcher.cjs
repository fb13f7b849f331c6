"use strict";
// `expect(gatelet).toHaveReceived(...)`, for any test runner with Jest's matchers.

const { GateletError } = require("./call.cjs");

/**
 * Waits until the journal has a request of this operation that the filter fits; `times` is how many, at least one if it
 * is left out. With `.not`, looks once.
 */
async function toHaveReceived(namespace, operation, { within = "5s", after, phase, ...filter } = {}) {
  if (typeof namespace?.verify !== "function") throw new TypeError("toHaveReceived: expect(...) takes a namespace of Gatelet");
  const query = { expect: [{ operation, ...filter }], within: this.isNot ? undefined : within, after, phase };
  try {
    await namespace.verify(query);
    return { pass: true, message: () => `The journal of ${namespace.name} has ${operation}, which was not expected.` };
  } catch (error) {
    if (!(error instanceof GateletError) || error.code !== "verification_failed") throw error;
    return { pass: false, message: () => error.message };
  }
}

module.exports = { toHaveReceived };
