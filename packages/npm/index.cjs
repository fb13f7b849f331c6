"use strict";
const { GateletError } = require("./lib/call.cjs");
const { forwardNamespace } = require("./lib/forward.cjs");
const { connectGatelet, startGatelet } = require("./lib/server.cjs");

module.exports = { GateletError, connectGatelet, forwardNamespace, startGatelet };
