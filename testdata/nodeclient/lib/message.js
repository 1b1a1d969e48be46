'use strict';

const { WAIT } = require('./packet');
const { cost, largest } = require('./credit');
const { pack } = require('./body');
const { Outbound, split } = require('./outbound');

// sendMessage sends a one-way message, in pieces if it is too large for one packet.
async function sendMessage(connection, path, body) {
  const { peer, messages, slots, writer } = connection;
  const { flag, payload } = pack(body, peer.message);
  const [before, last] = split(payload, largest(peer.messages, peer.frame));
  const packet = { flag, seq: 0, code: path, payload: last };
  if (before.length === 0) {
    await messages.spend(cost(last.length), () => writer.send(packet));
    return;
  }
  await slots.spend(1);
  await messages.spend(cost(last.length)); // before the first piece, which takes memory that others wait for
  const out = new Outbound(connection, 0, 0);
  const seq = (out.seq = connection.claim({
    // The answer to the ping says that no more credit comes for this sequence.
    response: () => {
      connection.outgoing.delete(seq);
      slots.add(1);
    },
    credit: (amount) => out.account.add(amount),
    piece() {},
    item() {},
    lost: (error) => out.account.close(error),
  }));
  await out.pieces(WAIT, before);
  writer.send({ ...packet, seq });
  writer.send({ flag: WAIT, seq, code: 'fly.ping' });
}

module.exports = { sendMessage };
