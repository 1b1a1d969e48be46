'use strict';

const { RpcError, ProtocolError } = require('./errors');
const { RESPONSE, STREAM } = require('./packet');
const { Body, pack } = require('./body');
const { Inbound } = require('./inbound');
const { Outbound, split } = require('./outbound');
const { errorResponse } = require('./response');

const LONGEST_TIMER = 2 ** 31 - 1;

// IncomingCall is a call that the other end opened.
class IncomingCall {
  half = true; // half received: its request or message comes in pieces
  ended = false; // the caller sends no more items
  answered = false; // the response is on its way
  abort = new AbortController();

  // counted says that it is one of the calls, as a ping is not.
  constructor(connection, seq, counted) {
    this.connection = connection;
    this.seq = seq;
    this.counted = counted;
    this.out = new Outbound(connection, RESPONSE, seq);
    this.inbound = new Inbound(connection, (sum) => connection.grant(STREAM | RESPONSE, seq, sum));
    this.inbound.eager = true;
  }

  // complete returns the payload of the request or message, whose last packet has come.
  complete(packet) {
    this.half = this.inbound.eager = false;
    return this.inbound.join(packet);
  }

  // close says that this side sends the response, or needs none, and grants nothing any more.
  close() {
    this.half = false;
    this.answered = true;
    clearTimeout(this.timer);
    this.inbound.account.close();
    this.inbound.stop();
  }

  // run calls the handler and sends what comes of it.
  async run(handler, message, { streaming, timeout }) {
    const { inbound, out, connection } = this;
    if (!streaming || !handler.items) inbound.stop();
    if (timeout !== undefined) {
      const late = () => this.#giveUp(new RpcError('TIMEOUT', 'the call took too long'));
      this.timer = setTimeout(late, Math.min(Math.ceil(timeout / 1000), LONGEST_TIMER));
    }
    const context = {
      signal: this.abort.signal,
      items: itemsAs(handler.items, inbound),
      send: (item) => out.item(Body.of(item)),
    };
    try {
      await this.#answer(await handler.run(message, context));
    } catch (error) {
      this.#respond(errorResponse(error, connection.peer.frame));
    }
  }

  async #answer(value) {
    const { peer } = this.connection;
    this.inbound.stop();
    const { flag, payload } = pack(Body.of(value), peer.message);
    const [before, last] = split(payload, peer.frame);
    await this.out.pieces(0, before);
    this.#respond({ flag, code: '', payload: last });
  }

  #respond({ flag, code, payload }) {
    if (this.connection.closed) return;
    this.close();
    this.out.write(flag | RESPONSE, code, payload, () => this.connection.dispatcher.answered(this));
  }

  // #giveUp ends the handler's context.
  #giveUp(error) {
    this.out.account.close(error);
    this.inbound.stop(error);
    this.abort.abort(error);
  }

  // What comes from the other end.

  piece(payload) {
    if (this.ended) throw new ProtocolError('an item after the end');
    this.inbound.piece(payload);
  }

  item(packet) {
    if (this.ended) throw new ProtocolError('an item after the end');
    this.inbound.item(packet);
  }

  end() {
    if (this.inbound.assembly !== null) throw new ProtocolError('the end amid pieces');
    this.ended = true;
    this.inbound.end();
  }

  cancel() {
    this.#giveUp(new RpcError('CANCELED', 'the caller has given up'));
  }

  credit(amount) {
    this.out.account.add(amount);
  }

  lost(error) {
    clearTimeout(this.timer);
    this.#giveUp(error);
  }
}

async function* itemsAs(as, inbound) {
  for await (const body of inbound.bodies()) yield body.as(as);
}

module.exports = { IncomingCall };
