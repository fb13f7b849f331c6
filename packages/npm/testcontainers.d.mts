export * from "./testcontainers.cjs";
