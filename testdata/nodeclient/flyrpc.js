'use strict';

const net = require('node:net');
const { RpcError, ProtocolError } = require('./lib/errors');
const { PacketReader } = require('./lib/packet');
const { Body } = require('./lib/body');
const { Version1 } = require('./lib/version1');
const { Version2 } = require('./lib/version2');
const hello = require('./lib/hello');

const VERSION1 = { ...hello.LIMITS, frame: hello.LIMITS.message }; // it has no frame

// connect dials, says hello, and resolves to the connection that is agreed; register is told
// in lib/end.js. To one that is silent it says no hello the second time.
async function connect(address, register) {
  return (await dial(address, register, true)) ?? dial(address, register, false);
}

// dial resolves to null if no answer to hello comes.
function dial(address, register, sayHello) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address).setNoDelay(true);
    let connection = null;
    let timer;
    const agree = (version, limits, peer) => {
      connection = new version(socket, limits, peer, register);
      reader.limit = limits.frame;
      resolve(connection);
    };
    const start = (packet) => {
      clearTimeout(timer);
      const answer = hello.isAnswer(packet);
      const peer = answer ? hello.readAnswer(packet) : null;
      if (peer) agree(Version2, hello.LIMITS, peer);
      else agree(Version1, VERSION1, VERSION1);
      if (!answer) connection.packet(packet);
    };
    // Until the version is known, packets may be as large as those of version 1.
    const reader = new PacketReader(VERSION1.frame, (packet) => {
      if (connection === null) start(packet);
      else if (!connection.closed) connection.packet(packet);
    });
    const fail = (error) => {
      clearTimeout(timer);
      socket.destroy();
      connection?.fail(error);
      reject(error);
    };
    socket.on('connect', () => {
      if (!sayHello) return agree(Version1, VERSION1, VERSION1);
      timer = setTimeout(() => {
        socket.destroy();
        resolve(null);
      }, hello.TIMEOUT);
      socket.write(hello.helloPacket());
    });
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        fail(error);
      }
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new RpcError('UNAVAILABLE', 'the other end has closed the connection')));
  });
}

module.exports = { connect, Body, RpcError, ProtocolError };
