'use strict';

// The program of the conformance suite, see testdata/wire/scenarios/README.md. It dials again and
// again, until nobody listens any more.

const { connect, Body, RpcError, ProtocolError } = require('./flyrpc');

const MOST_BYTES = 1 << 30;

function count(value = 0) {
  if (!Number.isInteger(value) || value < 0) throw new RpcError('BAD_REQUEST', 'a number is wanted');
  return value;
}

// bytes are n times the same letter, as many as the other end takes.
function bytes(end, n, letter) {
  if (count(n) > Math.min(end.peer.message, MOST_BYTES)) throw new RpcError('BUFF_TOO_LONG', 'so many bytes are not taken');
  return Buffer.alloc(count(n), letter);
}

// stopped rejects as soon as the signal is aborted.
function stopped(signal) {
  return new Promise((_, reject) => {
    const stop = () => reject(new RpcError('CANCELED', 'stopped'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
}

// Notes counts the notes of a connection.
class Notes {
  count = 0;
  waiting = new Map(); // from functions to the counts that they wait for

  add() {
    this.count++;
    for (const [resolve, n] of this.waiting) if (n <= this.count) resolve();
  }

  reached(n) {
    return new Promise((resolve) => {
      if (n <= this.count) resolve();
      else this.waiting.set(resolve, n);
    });
  }
}

// handlers are what the other end of a connection may call.
function handlers(end) {
  const notes = new Notes();
  return {
    '/echo': { as: 'body', run: (message) => message },
    '/fail': {
      as: 'text',
      run(message) {
        throw new RpcError('CONFLICT', message);
      },
    },
    '/wait': { as: 'body', run: (_, { signal }) => stopped(signal) },
    '/count': {
      as: 'json',
      answers: true,
      async run(n, { send }) {
        for (let i = 1; i <= count(n); i++) await send(i);
      },
    },
    '/lines': {
      as: 'json',
      answers: true,
      async run(n, { send }) {
        for (let i = 1; i <= count(n); i++) await send(`line ${i}`);
        throw new RpcError('CONFLICT', 'torn');
      },
    },
    '/sum': {
      as: 'body',
      items: 'json',
      async run(_, { items }) {
        let sum = 0;
        for await (const item of items) sum += item;
        return sum;
      },
    },
    '/join': {
      as: 'body',
      items: 'bytes',
      async run(_, { items }) {
        const parts = [];
        for await (const item of items) parts.push(item);
        return Buffer.concat(parts);
      },
    },
    '/pass': {
      as: 'body',
      items: 'body',
      answers: true,
      async run(_, { items, send }) {
        for await (const item of items) await send(item);
      },
    },
    '/early': {
      as: 'body',
      items: 'json',
      async run(_, { items }) {
        for await (const item of items) return item;
      },
    },
    '/big': { as: 'json', run: (n) => bytes(end, n, 'x') },
    '/size': { as: 'bytes', run: (message) => message.length },
    '/note': { as: 'body', run: () => notes.add() },
    '/noted': {
      as: 'json',
      async run(n, { signal }) {
        await Promise.race([notes.reached(count(n)), stopped(signal)]);
        return count(n);
      },
    },
    '/do': { as: 'json', run: (order, { signal }) => perform(end, order, signal) },
  };
}

// perform makes the call that /do orders, and says what became of it.
async function perform(end, { how, path, message, items = [] }, signal) {
  const sent = message === undefined ? undefined : Body.json(message);
  const got = [];
  try {
    switch (how) {
      case 'call':
        return replied(await end.call(path, sent, { as: 'json', signal }));
      case 'bytes':
        return { size: (await end.call(path, sent, { as: 'bytes', signal })).length };
      case 'send':
        await end.send(path, sent);
        return {};
      case 'upload':
        return replied(await end.upload(path, sent, items.map(Body.json), { as: 'json', signal }));
      case 'large':
        return replied(await end.call(path, bytes(end, message, 'y'), { as: 'json', signal }));
      case 'receive':
      case 'first':
        for await (const item of end.receive(path, sent, { signal })) {
          got.push(item.raw ? item.as('text') : item.as('json'));
          if (how === 'first') break;
        }
        return { items: got };
    }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return { ...(how === 'receive' && { items: got }), error: error.code, message: error.message };
  }
  throw new RpcError('BAD_REQUEST', 'an order of no known kind');
}

const replied = (reply = null) => ({ reply });

// isFault says that an error is neither of the other end nor of the transport.
function isFault(error) {
  return !(error instanceof RpcError || error instanceof ProtocolError || error.syscall);
}

async function main(address) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  for (let served = 0; ; served++) {
    try {
      const connection = await connect({ host: host || 'localhost', port }, handlers);
      throw await connection.ended;
    } catch (error) {
      if (error.code === 'ECONNREFUSED' && served > 0) return;
      if (error.code === 'ECONNREFUSED') throw error;
      if (!isFault(error)) continue;
      console.log(error);
      process.exitCode = 1;
    }
  }
}

main(process.argv[2] ?? 'localhost:7001');
