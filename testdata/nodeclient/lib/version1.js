'use strict';

const { ProtocolError, bad, tooLong } = require('./errors');
const { RESPONSE, WAIT, STREAM, META, ZIPCODE, ZIPPAYLOAD, encodePacket } = require('./packet');
const { Body, pathOf } = require('./body');
const { plainErrorResponse, responseError } = require('./response');
const { End } = require('./end');

const NIL = Buffer.from('null');

const unmarked = ({ payload }) => new Body('unmarked', payload);
const payloadOf = ({ kind, bytes }) => (kind === 'nil' ? NIL : bytes);

// Version1 speaks to a peer that knows no hello: plain packets, without items, cancel or credit.
class Version1 extends End {
  // What the program does.

  async call(path, message, { as, signal }) {
    this.checkOpen(path);
    await this.slots.spend(1);
    let seq;
    let giveUp;
    try {
      const body = await new Promise((resolve, reject) => {
        giveUp = () => reject(signal.reason);
        if (signal.aborted) return giveUp();
        signal.addEventListener('abort', giveUp);
        const response = (packet) => {
          if (packet.tooLong) reject(tooLong('the response'));
          else if (packet.code.length > 0) reject(responseError(packet, this.limits.message));
          else resolve(unmarked(packet));
        };
        seq = this.claim({ response, lost: reject });
        this.#write({ flag: WAIT, seq, code: path, payload: payloadOf(Body.of(message)) });
      });
      return body.as(as);
    } finally {
      signal.removeEventListener('abort', giveUp);
      this.outgoing.delete(seq);
      this.slots.add(1);
    }
  }

  // receive takes the response as the only item, as one without items is taken.
  async *receive(path, message, options) {
    yield await this.call(path, message, { ...options, as: 'body' });
  }

  async upload() {
    throw bad('a version 1 peer takes no items');
  }

  async send(path, message) {
    this.checkOpen(path);
    this.#write({ flag: 0, seq: 0, code: path, payload: payloadOf(Body.of(message)) });
  }

  // What comes from the other end.

  packet(packet) {
    const { flag, seq } = packet;
    if (flag & (STREAM | META | ZIPCODE | ZIPPAYLOAD)) throw new ProtocolError('a bit that version 1 does not have');
    if (flag & RESPONSE) this.outgoing.get(seq)?.response(packet);
    else if (flag & WAIT) this.#request(packet);
    else this.#run(packet).catch(() => {});
  }

  async #request(packet) {
    let response;
    try {
      response = { flag: RESPONSE, payload: await this.#run(packet) };
    } catch (error) {
      response = plainErrorResponse(error);
    }
    this.#write({ ...response, seq: packet.seq });
  }

  async #run(packet) {
    if (packet.tooLong) throw tooLong('the message');
    const path = pathOf(packet.code);
    const body = unmarked(packet);
    if (path === 'fly.ping') return this.pong(body);
    const { run, as, answers } = this.handler(path);
    if (answers) throw bad('this path answers with items');
    const context = { signal: this.abort.signal, items: [] };
    return payloadOf(Body.of(await run(body.as(as), context)));
  }

  #write(packet) {
    if (!this.closed) this.socket.write(encodePacket(packet));
  }
}

module.exports = { Version1 };
