'use strict';

const { encodePacket } = require('./packet');
const { ProtocolError } = require('./errors');

const MAX_ANSWERS = 64; // of the reader that wait because the other end doesn't read

// Writer writes packets in order, but the reader's own answers before others. Credit goes with
// them: no answer may overtake it. A packet's written is called when it has been written.
class Writer {
  ahead = [];
  packets = [];
  answers = 0; // not written

  constructor(socket) {
    this.socket = socket;
    socket.on('drain', () => this.#pump());
  }

  send(packet) {
    this.packets.push(packet);
    this.#pump();
  }

  credit(packet) {
    this.ahead.push(packet);
    this.#pump();
  }

  answer(packet, written) {
    if (++this.answers >= MAX_ANSWERS) throw new ProtocolError('the other end does not read its answers');
    this.credit({
      ...packet,
      written: () => {
        this.answers--;
        written();
      },
    });
  }

  #pump() {
    while (!this.socket.writableNeedDrain && !this.socket.destroyed) {
      const packet = this.ahead.shift() ?? this.packets.shift();
      if (packet === undefined) return;
      this.socket.write(encodePacket(packet));
      packet.written?.();
    }
  }
}

module.exports = { Writer };
