"use strict";
// For Testcontainers: Gatelet's image, as a mock with a control API.

const { randomBytes } = require("node:crypto");
const { basename } = require("node:path");
const { AbstractStartedContainer, GenericContainer, Wait } = require("testcontainers");

const { connectGatelet } = require("./lib/server.cjs");

const PORT = 8283;

class GateletContainer extends GenericContainer {
  // Given instead of read from the log, where it would stay.
  #apiKey = `sk-let-${randomBytes(32).toString("base64url")}`;

  constructor(image) {
    super(image);
    this.withExposedPorts(PORT);
    this.withWaitStrategy(Wait.forHttp("/readyz", PORT));
    this.withEnvironment({
      GATELET_LISTEN: `0.0.0.0:${PORT}`,
      GATELET_EPHEMERAL: "true",
      GATELET_CONTROL: "true",
      GATELET_BOOTSTRAP_API_KEY: this.#apiKey,
    });
  }

  /** What the namespace `default` begins with: the path of a file in TOML or JSON. */
  withSeed(path) {
    return this.#withFile(path, "GATELET_SEED");
  }

  /** Replies in TOML: the path of a file. */
  withScript(path) {
    return this.#withFile(path, "GATELET_SCRIPT");
  }

  async start() {
    const apiKey = this.#apiKey;
    return new StartedGateletContainer(await super.start(), apiKey);
  }

  #withFile(source, variable) {
    const target = `/gatelet/${basename(source)}`;
    return this.withCopyFilesToContainer([{ source, target }]).withEnvironment({ [variable]: target });
  }
}

class StartedGateletContainer extends AbstractStartedContainer {
  #apiKey;
  #server;

  constructor(started, apiKey) {
    super(started);
    this.#apiKey = apiKey;
  }

  getBaseUrl() {
    return `http://${this.getHost()}:${this.getMappedPort(PORT)}`;
  }

  getApiKey() {
    return this.#apiKey;
  }

  /** The server, as `connectGatelet` returns it. */
  server() {
    return (this.#server ??= connectGatelet({ url: this.getBaseUrl(), apiKey: this.#apiKey }));
  }

  async namespace(options) {
    return (await this.server()).namespace(options);
  }
}

module.exports = { GateletContainer, StartedGateletContainer };
