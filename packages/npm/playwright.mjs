export { expect, forwardNamespace, test } from "./playwright.cjs";
