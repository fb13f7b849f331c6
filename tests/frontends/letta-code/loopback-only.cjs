// Preloaded into a program (`node --require`): whatever it wants to reach beyond this machine is refused and noted, in
// the file that BEYOND_LOOPBACK names, a host a line.

const { appendFileSync } = require('node:fs');
const { Socket } = require('node:net');

const { connect } = Socket.prototype;

Socket.prototype.connect = function (...given) {
  // Node's own callers pass their arguments on as one list.
  const [options, host] = Array.isArray(given[0]) ? given[0] : given;
  const { path, host: name = 'localhost' } = typeof options === 'object' ? options : { host };
  if (path || ['localhost', '127.0.0.1', '::1'].includes(name)) return connect.apply(this, given);
  appendFileSync(process.env.BEYOND_LOOPBACK, `${name}\n`);
  process.nextTick(() => this.destroy(new Error(`${name} is not on this machine`)));
  return this;
};
