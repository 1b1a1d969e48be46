'use strict';

// RpcError is an error that travels: a code and a message for people.
class RpcError extends Error {
  notProcessed = false; // the handler never started

  constructor(code, message) {
    super(message || code); // a message is never empty
    this.code = code;
  }
}

// ProtocolError says that the other end broke the protocol. It ends the connection.
class ProtocolError extends Error {}

const bad = (message) => new RpcError('BAD_REQUEST', message);
const tooLong = (what) => new RpcError('BUFF_TOO_LONG', `${what} is too long`);

module.exports = { RpcError, ProtocolError, bad, tooLong };
