'use strict';

const { RpcError, ProtocolError, bad, tooLong } = require('./errors');
const { STREAM, EMPTY } = require('./packet');
const { Body, pack, unpack } = require('./body');
const { Inbound } = require('./inbound');
const { Outbound, split } = require('./outbound');
const { responseError } = require('./response');

const STALE = 30000; // milliseconds after which an answer that nobody wants is overdue

// OutgoingCall is a call that this side opens.
class OutgoingCall {
  over = false; // the response has come, or never will
  gaveUp = false;
  stale = false; // the response is overdue, and nobody wants it
  final = new Body('nil'); // the body of the response

  constructor(connection, signal) {
    this.connection = connection;
    this.signal = signal;
    this.out = new Outbound(connection, 0, 0);
    this.inbound = new Inbound(connection, (sum) => connection.grant(STREAM, this.out.seq, sum));
    this.cancel = () => this.fail(new RpcError('CANCELED', 'the caller has given up'));
    signal.addEventListener('abort', this.cancel);
    if (signal.aborted) this.cancel();
  }

  get #open() {
    return !this.over && !this.gaveUp;
  }

  async open(flag, path, body, items) {
    try {
      await this.#request(flag, path, body);
      for (const item of items ?? []) await this.out.item(item);
      if (items !== undefined && this.#open) this.#frame('e');
    } catch (error) {
      this.fail(error);
    }
  }

  async #request(flag, path, body) {
    const { connection, out } = this;
    connection.checkOpen(path);
    if (path === '+' && flag & STREAM) throw bad('this path cannot be called with items');
    const packed = pack(body, connection.peer.message);
    await connection.slots.spend(1);
    if (this.gaveUp) return connection.slots.add(1);
    out.seq = connection.claim(this);
    const [before, last] = split(packed.payload, connection.peer.frame);
    await out.pieces(flag | STREAM, before);
    if (this.#open) out.write(flag | packed.flag, path, last);
  }

  #frame(code) {
    this.out.write(STREAM, code, EMPTY);
  }

  // What the program takes.

  async *items() {
    let none = true;
    try {
      for await (const item of this.inbound.bodies()) {
        none = false;
        yield item;
      }
      if (none && this.final.kind !== 'nil') yield this.final;
    } catch (error) {
      this.fail(error);
      throw error;
    } finally {
      this.cancel();
    }
  }

  // reply is the one that the response has. Who wants bytes gets raw items joined.
  async reply(as) {
    const parts = [];
    let size = 0;
    try {
      for await (const item of this.inbound.bodies()) {
        if (as === 'json' || !item.raw) throw bad('an item where one reply is wanted');
        parts.push(item.bytes);
        size += item.bytes.length;
        if (size > this.connection.limits.message) throw tooLong('what the items are together');
      }
    } catch (error) {
      this.fail(error);
      throw error;
    }
    return parts.length > 0 ? Buffer.concat(parts) : this.final.as(as);
  }

  // fail ends the call for the program. The other end is told, if it knows of the call.
  fail(error) {
    if (!this.#open) return;
    this.gaveUp = true;
    this.out.account.close(error);
    this.inbound.stop(error);
    if (!this.out.begun) return this.#release();
    this.#frame('c');
    setTimeout(() => this.#overdue(), STALE).unref();
  }

  #overdue() {
    const { connection } = this;
    this.stale = !this.over;
    const stale = [...connection.outgoing.values()].filter((call) => call.stale).length;
    if (stale * 4 >= connection.peer.calls) connection.fail(new ProtocolError('too many answers are overdue'));
  }

  #release() {
    const { outgoing, slots } = this.connection;
    this.over = true;
    this.signal.removeEventListener('abort', this.cancel);
    this.out.account.close(new RpcError('CANCELED', 'the call has ended'));
    this.inbound.account.close();
    if (outgoing.get(this.out.seq) !== this) return;
    outgoing.delete(this.out.seq);
    slots.add(1);
  }

  // What comes from the other end.

  credit(amount) {
    this.out.account.add(amount);
  }

  piece(payload) {
    this.inbound.piece(payload);
  }

  item(packet) {
    this.inbound.item(packet);
  }

  response(packet) {
    this.#release();
    const { message } = this.connection.limits;
    try {
      if (packet.code.length > 0) {
        this.inbound.assembly?.drop();
        throw packet.tooLong ? tooLong('the response') : responseError(packet, message);
      }
      this.final = unpack({ flag: packet.flag, payload: this.inbound.join(packet) }, message).body;
      this.inbound.end();
    } catch (error) {
      this.inbound.end(error);
    }
  }

  lost(error) {
    this.#release();
    this.inbound.end(error);
  }
}

module.exports = { OutgoingCall };
