'use strict';

const { STREAM } = require('./packet');
const { cost, largest, Spending } = require('./credit');
const { pack } = require('./body');

// split cuts what is larger than room into the part before the last, and the last.
function split(payload, room) {
  const end = Math.max(0, payload.length - room);
  return [payload.subarray(0, end), payload.subarray(end)];
}

// Outbound is one direction of a call, as its sender sees it: items and messages go out, in
// pieces where they are large, and never beyond the credit.
class Outbound {
  begun = false; // the other end knows of the call

  // flag is RESPONSE for the callee, 0 for the caller.
  constructor(connection, flag, seq) {
    this.connection = connection;
    this.flag = flag;
    this.seq = seq;
    this.account = new Spending(connection.peer.window);
    this.most = largest(connection.peer.window, connection.peer.frame);
  }

  async item(body) {
    const { flag, payload } = pack(body, this.connection.peer.message);
    const [before, last] = split(payload, this.most);
    await this.pieces(0, before);
    await this.account.spend(cost(last.length), () => this.write(flag | STREAM, '', last));
  }

  async pieces(flag, payload) {
    for (let at = 0; at < payload.length; at += this.most) {
      const part = payload.subarray(at, at + this.most);
      await this.account.spend(cost(part.length), () => this.write(flag | STREAM, '+', part));
    }
  }

  write(flag, code, payload, written) {
    this.begun = true;
    this.connection.writer.send({ flag: flag | this.flag, seq: this.seq, code, payload, written });
  }
}

module.exports = { Outbound, split };
