export { GateletError, connectGatelet, startGatelet, useGatelet } from "./jest.cjs";
