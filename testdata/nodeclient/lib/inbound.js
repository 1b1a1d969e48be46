'use strict';

const { tooLong } = require('./errors');
const { cost, Granting } = require('./credit');
const { Assembly } = require('./pieces');
const { unpack } = require('./body');

// Inbound is one direction of a call, as its receiver sees it: items and pieces come in, the
// program takes the items, and the credit goes back.
class Inbound {
  eager = false; // memory for pieces is wanted although nobody waits for an item
  assembly = null;
  items = [];
  wake = null; // lets the program go on that waits for an item
  over = false; // no more items come,
  error = null; // because of this, if not in order
  stopped = false; // nobody takes what comes

  constructor({ memory, limits }, grant) {
    this.memory = memory;
    this.limit = limits.message;
    this.account = new Granting(limits.window, grant);
  }

  piece(payload) {
    const credit = cost(payload.length);
    this.account.charge(credit);
    if (this.assembly === null) {
      this.assembly = new Assembly(this.memory, this.account, this.limit);
      if (this.stopped) this.assembly.drop();
      else if (this.eager || this.wake) this.assembly.ask();
    }
    this.assembly.add(payload, credit);
  }

  // join completes a request, message or response, whose last part takes nothing from this
  // account. It returns the payload.
  join(packet) {
    const { payload, credit } = this.#complete(packet);
    this.account.release(credit);
    if (payload === null) throw tooLong('the message');
    return payload;
  }

  item(packet) {
    const taken = cost(packet.length);
    this.account.charge(taken);
    const { payload, credit } = this.#complete(packet);
    const item = { flag: packet.flag, payload, credit: credit + taken };
    if (this.stopped) this.account.release(item.credit);
    else this.items.push(item);
    this.#rouse();
  }

  #complete({ payload, tooLong: skipped }) {
    const { assembly } = this;
    this.assembly = null;
    if (skipped) {
      assembly?.drop();
      return { payload: null, credit: 0 };
    }
    return assembly ? assembly.finish(payload) : { payload, credit: 0 };
  }

  // end says that no more items come, because of error if there is one.
  end(error = null) {
    if (this.over) return;
    this.over = true;
    this.error = error;
    this.#rouse();
  }

  // stop says that nobody takes what has come or will come.
  stop(error = null) {
    this.stopped = true;
    for (const { credit } of this.items.splice(0)) this.account.release(credit);
    this.assembly?.drop();
    this.end(error);
  }

  #rouse() {
    const { wake } = this;
    this.wake = null;
    wake?.();
  }

  // bodies are the items, as one program takes them.
  async *bodies() {
    try {
      for (;;) {
        while (this.items.length === 0 && !this.over) {
          this.assembly?.ask();
          await new Promise((resolve) => (this.wake = resolve));
        }
        if (this.items.length === 0) break;
        const item = this.items.shift();
        this.account.release(item.credit);
        if (item.payload === null) throw tooLong('the item');
        yield unpack(item, this.limit).body;
      }
      if (this.error) throw this.error;
    } finally {
      this.stop();
    }
  }
}

module.exports = { Inbound };
