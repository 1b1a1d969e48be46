'use strict';

const { STREAM, WAIT } = require('./packet');
const { encodeUvarint } = require('./uvarint');
const { Spending, Granting } = require('./credit');
const { Body } = require('./body');
const { Memory } = require('./pieces');
const { Writer } = require('./writer');
const { End } = require('./end');
const { OutgoingCall } = require('./outgoing');
const { sendMessage } = require('./message');
const { Dispatcher } = require('./dispatcher');

// Version2 speaks to a peer that has answered hello.
class Version2 extends End {
  memory = new Memory();

  constructor(socket, limits, peer, register) {
    super(socket, limits, peer, register);
    this.writer = new Writer(socket);
    this.messages = new Spending(peer.messages);
    this.messagesIn = new Granting(limits.messages, (sum) => this.grant(STREAM, 0, sum));
    this.dispatcher = new Dispatcher(this);
  }

  // What the program does. A call is given up when its signal is aborted.

  // call returns the one reply: as says whether it is decoded, or raw bytes.
  call(path, message, { as, signal }) {
    return this.#open(WAIT, path, message, signal).reply(as);
  }

  // receive returns the items that answer a call. To leave the loop gives the call up.
  receive(path, message, { signal }) {
    return this.#open(WAIT, path, message, signal).items();
  }

  // upload sends items as well.
  upload(path, message, items, { as, signal }) {
    return this.#open(WAIT | STREAM, path, message, signal, items.map(Body.of)).reply(as);
  }

  #open(flag, path, message, signal, items) {
    const call = new OutgoingCall(this, signal);
    call.open(flag, path, Body.of(message), items);
    return call;
  }

  // send resolves when the message is on its way.
  async send(path, message) {
    this.checkOpen(path);
    await sendMessage(this, path, Body.of(message));
  }

  // What its parts do.

  packet(packet) {
    this.dispatcher.packet(packet);
  }

  grant(flag, seq, sum) {
    this.writer.credit({ flag, seq, code: 'w', payload: encodeUvarint(sum) });
  }

  fail(error) {
    super.fail(error);
    this.messages.close(this.closed);
    this.dispatcher.lost(this.closed);
  }
}

module.exports = { Version2 };
