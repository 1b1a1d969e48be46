'use strict';

const { ProtocolError } = require('./errors');

const PACKET_COST = 32; // what a packet takes besides its payload
const MAX_CREDIT = 2 ** 31 - 1;

const cost = (length) => length + PACKET_COST;

// largest is how long a payload may be so that its packet takes at most half of the initial
// credit, which is granted again whatever the receiver holds back.
function largest(initial, frame) {
  return Math.max(1, Math.min(frame, Math.floor(initial / 2) - PACKET_COST));
}

// Spending is the sender's side of an account. Who waits is served in order. Likewise it
// counts the calls that the other end accepts.
class Spending {
  waiting = [];
  closed = null;

  constructor(initial) {
    this.balance = initial;
  }

  // spend waits until the account holds amount, takes it, and calls write at once. It throws
  // the reason when the account is closed.
  spend(amount, write = () => {}) {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(this.closed);
      this.waiting.push({ amount, write, resolve, reject });
      this.#serve();
    });
  }

  add(amount) {
    this.balance += amount;
    if (this.balance > MAX_CREDIT) throw new ProtocolError('too much credit');
    this.#serve();
  }

  close(error) {
    this.closed ??= error;
    for (const { reject } of this.waiting.splice(0)) reject(this.closed);
  }

  #serve() {
    while (this.waiting.length > 0 && this.waiting[0].amount <= this.balance) {
      const { amount, write, resolve } = this.waiting.shift();
      this.balance -= amount;
      write();
      resolve();
    }
  }
}

// Granting is the receiver's side. What is released is held back until it is half of the
// initial credit.
class Granting {
  held = 0;

  constructor(initial, grant) {
    this.initial = initial;
    this.left = initial;
    this.grant = grant;
  }

  charge(amount) {
    this.left -= amount;
    if (this.left < 0) throw new ProtocolError('more than the credit');
  }

  release(amount) {
    this.held += amount;
    if (this.held * 2 < this.initial) return;
    this.left += this.held;
    this.grant(this.held);
    this.held = 0;
  }

  // close ends the grants: the call is over.
  close() {
    this.grant = () => {};
  }
}

module.exports = { MAX_CREDIT, cost, largest, Spending, Granting };
