'use strict';

const { RpcError, bad, tooLong } = require('./errors');
const { MAX_CODE } = require('./packet');
const { Spending } = require('./credit');

const LAST_SEQUENCE = 65535;
const MAX_PING = 1024;

// End is what one end of a connection is in both versions. register(end) returns what the other
// end may call: for each path { run, as, items, answers }. run(message, context) gets the message
// as that says: json, bytes, text or body. items is the same for the items that it takes, if it
// takes any, and answers says that it answers with items.
class End {
  outgoing = new Map(); // the calls of this side, by sequence
  last = 0; // the sequence used last
  closed = null; // the error, once the connection has ended
  bye = false; // has been said by the other end
  abort = new AbortController(); // for handlers that have no call

  // limits is what this side accepts, peer what the other does.
  constructor(socket, limits, peer, register) {
    this.socket = socket;
    this.limits = limits;
    this.peer = peer;
    this.slots = new Spending(peer.calls);
    this.handlers = new Map(Object.entries(register(this)));
    this.ended = new Promise((resolve) => (this.resolveEnded = resolve));
  }

  // claim gives a call the sequence that has not been used for longest.
  claim(call) {
    do this.last = (this.last % LAST_SEQUENCE) + 1;
    while (this.outgoing.has(this.last));
    this.outgoing.set(this.last, call);
    return this.last;
  }

  checkOpen(path) {
    const wrong = path === '' || path.includes('\0') || path[0] === '\x01' || Buffer.byteLength(path) > MAX_CODE;
    if (wrong) throw bad('this is no path');
    if (this.closed) throw this.closed;
    if (this.bye) throw new RpcError('UNAVAILABLE', 'the other end has said bye');
  }

  // handler finds who answers a request, or refuses it.
  handler(path) {
    if (path === 'fly.hello') throw new RpcError('CONFLICT', 'hello comes first, and once');
    const handler = this.handlers.get(path);
    if (handler === undefined) throw new RpcError('NOT_FOUND', `nothing is at ${path}`);
    return handler;
  }

  pong({ bytes }) {
    if (bytes.length > MAX_PING) throw tooLong('the ping');
    return bytes;
  }

  // fail ends the connection and everything that is open on it.
  fail(error) {
    if (this.closed) return;
    this.closed = error instanceof RpcError ? error : new RpcError('UNAVAILABLE', error.message);
    this.socket.destroy();
    this.slots.close(this.closed);
    this.abort.abort(this.closed);
    for (const call of [...this.outgoing.values()]) call.lost(this.closed);
    this.resolveEnded(error);
  }
}

module.exports = { End };
