import { AbstractStartedContainer, GenericContainer } from "testcontainers";
import type { GateletServer, Namespace, NamespaceOptions } from "./index.cjs";

export class GateletContainer extends GenericContainer {
  /** The image with its version, such as `ghcr.io/gatelet/gatelet:0.1.0`. */
  constructor(image: string);
  /** What the namespace `default` begins with: the path of a file in TOML or JSON. */
  withSeed(path: string): this;
  /** Replies in TOML: the path of a file. */
  withScript(path: string): this;
  start(): Promise<StartedGateletContainer>;
}

export class StartedGateletContainer extends AbstractStartedContainer {
  getBaseUrl(): string;
  getApiKey(): string;
  server(): Promise<GateletServer>;
  namespace(options?: NamespaceOptions): Promise<Namespace>;
}
