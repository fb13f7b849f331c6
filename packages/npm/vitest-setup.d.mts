/** A `globalSetup`: one server for all test files. */
export default function setup(project: { provide(key: "gatelet", value: { url: string; apiKey: string }): void }): Promise<() => Promise<void>>;
