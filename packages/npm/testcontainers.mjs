export { GateletContainer, StartedGateletContainer } from "./testcontainers.cjs";
