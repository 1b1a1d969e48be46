'use strict';

const { RpcError, ProtocolError, bad, tooLong } = require('./errors');
const { RESPONSE, WAIT, STREAM, META, ZIPCODE, ZIPPAYLOAD } = require('./packet');
const { wholeUvarint } = require('./uvarint');
const { cost } = require('./credit');
const { inflateCode } = require('./inflate');
const { MARK, Learner } = require('./codes');
const { unpack, pathOf } = require('./body');
const { IncomingCall } = require('./incoming');
const { errorResponse } = require('./response');

const RESERVED = 'fly.';
const PIECE = Buffer.from('+');

// Dispatcher gives each packet that comes to the call that it belongs to, and opens the calls
// of the other end. What it throws ends the connection.
class Dispatcher {
  incoming = new Map(); // the calls of the other end
  counted = 0; // those that take one of the calls
  learner = new Learner();

  constructor(connection) {
    this.connection = connection;
  }

  packet(packet) {
    const { flag, seq } = packet;
    const { outgoing } = this.connection;
    if (flag & RESPONSE) {
      if (flag & STREAM) this.#frame(packet, outgoing.get(seq), false);
      else outgoing.get(seq)?.response(packet);
    } else if (flag & STREAM && !(flag & WAIT)) this.#frame(packet, this.incoming.get(seq), true);
    else if (flag & STREAM && packet.code.equals(PIECE)) this.#piece(packet);
    else this.#opening(packet);
  }

  // #frame takes a frame of an open call; call is undefined if it isn't open.
  #frame(packet, call, byCaller) {
    const { flag, seq, payload } = packet;
    if (packet.tooLong || flag & ZIPCODE) throw new ProtocolError('a frame that cannot be');
    const verb = packet.code.toString('latin1');
    if (seq === 0 && verb === 'w' && byCaller) this.connection.messages.add(amount(payload));
    if (call === undefined || call.answered) return;
    if (call.half && verb !== 'w' && verb !== 'c') return; // the request has not opened it yet
    if (verb === '') call.item(packet);
    else if (verb === '+') call.piece(checkPiece(packet));
    else if (verb === 'w') call.credit(amount(payload));
    else if (verb === 'e' && byCaller) call.end();
    else if (verb === 'c' && byCaller) this.#cancel(call);
  }

  #cancel(call) {
    if (call.half) this.#refuse(call, new RpcError('CANCELED', 'the caller has given up'));
    else call.cancel();
  }

  // #piece takes a piece of a request or message.
  #piece(packet) {
    const payload = checkPiece(packet);
    const call = this.incoming.get(packet.seq) ?? this.#admit(packet.seq);
    if (!call.half) throw new ProtocolError('a piece takes a sequence that is open');
    call.piece(payload);
  }

  #admit(seq, counted = true) {
    if (seq === 0) throw new ProtocolError('a call with sequence 0');
    if (counted && ++this.counted > this.connection.limits.calls) throw new ProtocolError('too many calls');
    const call = new IncomingCall(this.connection, seq, counted);
    this.incoming.set(seq, call);
    return call;
  }

  #opening(packet) {
    let path = null; // if it can't be understood
    const code = packet.flag & ZIPCODE ? null : this.learner.resolve(packet.code);
    try {
      path = pathOf(code ?? inflateCode(packet.code));
      if (path.charCodeAt(0) === MARK) path = null;
    } catch {
      // the request is refused below
    }
    if (packet.flag & WAIT) this.#request(packet, path);
    else this.#message(packet, path);
  }

  #request(packet, path) {
    const { flag, seq } = packet;
    const { connection } = this;
    const call = this.incoming.get(seq) ?? this.#admit(seq, path !== 'fly.ping');
    if (!call.half) throw new ProtocolError('a request takes a sequence that is open');
    try {
      const payload = call.complete(packet);
      if (path === null) throw bad('the path cannot be understood');
      const { timeout, body } = unpack({ flag, payload }, connection.limits.message);
      if (path === 'fly.ping') return this.#answer(call, { flag: RESPONSE, payload: connection.pong(body) });
      const handler = connection.handler(path);
      if (timeout === 0) throw new RpcError('TIMEOUT', 'the time was over');
      const message = body.as(handler.as);
      call.run(handler, message, { streaming: flag & STREAM, timeout });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#refuse(call, error);
    }
  }

  #refuse(call, error) {
    error.notProcessed = true;
    this.#answer(call, errorResponse(error, this.connection.peer.frame));
  }

  // #answer sends an answer of the reader itself.
  #answer(call, response) {
    call.close();
    this.connection.writer.answer({ ...response, seq: call.seq }, () => this.answered(call));
  }

  // answered says that the response of a call has been written.
  answered(call) {
    this.incoming.delete(call.seq);
    if (call.counted) this.counted--;
  }

  #message(packet, path) {
    const { messagesIn } = this.connection;
    const free = path !== null && path.startsWith(RESERVED);
    const credit = free ? 0 : cost(packet.length);
    messagesIn.charge(credit);
    this.#deliver(packet, path);
    messagesIn.release(credit); // the handler has started, or never will
  }

  async #deliver(packet, path) {
    const { connection } = this;
    try {
      const payload = this.#whole(packet);
      if (path === 'fly.bye') connection.bye = true;
      const handler = connection.handler(path);
      if (handler.items || handler.answers) return;
      const { body } = unpack({ flag: packet.flag, payload }, connection.limits.message);
      await handler.run(body.as(handler.as), { signal: connection.abort.signal });
    } catch {
      // nobody is told
    }
  }

  // #whole is the payload of a message, which is joined if pieces have come before it.
  #whole(packet) {
    const call = this.incoming.get(packet.seq);
    if (!call?.half) {
      if (packet.tooLong) throw tooLong('the message');
      return packet.payload;
    }
    try {
      return call.complete(packet);
    } finally {
      call.close();
      this.answered(call);
    }
  }

  lost(error) {
    for (const call of this.incoming.values()) call.lost(error);
  }
}

function amount(payload) {
  const number = wholeUvarint(payload);
  if (number === null) throw new ProtocolError('credit that is no number');
  return number;
}

function checkPiece({ flag, payload, tooLong: skipped }) {
  if (skipped) throw new ProtocolError('a piece that is too long');
  if (flag & (META | ZIPCODE | ZIPPAYLOAD)) throw new ProtocolError('a piece with flags of the whole');
  return payload;
}

module.exports = { Dispatcher };
