export { GateletError, connectGatelet, forwardNamespace, startGatelet } from "./index.cjs";
