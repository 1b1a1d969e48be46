'use strict';

const { MAX_BLOCK } = require('./metadata');

const PREFIX = 10; // the uvarint before the metadata, at its longest

// Memory is what is set aside to complete what comes in pieces: for one at a time on a
// connection, the one first that has asked first.
class Memory {
  line = []; // the first of it has the memory

  ask(assembly) {
    if (this.line.push(assembly) === 1) assembly.granted();
  }

  giveBack(assembly) {
    const at = this.line.indexOf(assembly);
    if (at < 0) return;
    this.line.splice(at, 1);
    if (at === 0) this.line[0]?.granted();
  }
}

// Assembly joins the parts of one message. Until it has memory it keeps their credit, which
// bounds it; then, or when it is dropped, it returns credit at once.
class Assembly {
  parts = [];
  size = 0;
  kept = 0; // credit not returned yet
  asked = false;
  returns = false;
  dropped = false;

  constructor(memory, account, limit) {
    this.memory = memory;
    this.account = account;
    this.limit = limit + MAX_BLOCK + PREFIX;
  }

  ask() {
    if (this.asked || this.dropped) return;
    this.asked = true;
    this.memory.ask(this);
  }

  granted() {
    this.returns = true;
    this.#release();
  }

  add(part, credit) {
    this.kept += credit;
    this.#append(part);
    if (this.returns) this.#release();
  }

  // finish adds the last part. It returns the whole, null if that is too long or was dropped,
  // and the credit that is still to be returned.
  finish(last) {
    this.#append(last);
    this.memory.giveBack(this);
    return { payload: this.dropped ? null : Buffer.concat(this.parts), credit: this.kept };
  }

  drop() {
    this.dropped = this.returns = true;
    this.parts = [];
    this.memory.giveBack(this);
    this.#release();
  }

  #append(part) {
    this.size += part.length;
    if (this.dropped) return;
    if (this.size > this.limit) this.drop();
    else this.parts.push(part);
  }

  #release() {
    this.account.release(this.kept);
    this.kept = 0;
  }
}

module.exports = { Memory, Assembly };
