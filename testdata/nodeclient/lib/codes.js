'use strict';

const { ProtocolError } = require('./errors');

const MARK = 0x01;
const FIRST = 0x02;
const LAST = 0x7f;
const MAX_TAUGHT = 16384; // bytes of all paths taught

// Learner keeps the paths that the other end taught. (This client teaches none.)
class Learner {
  paths = new Map();
  size = 0;

  // resolve returns the path, as bytes, that a code of a request or message stands for.
  resolve(code) {
    if (code[0] !== MARK) return code;
    const id = code[1];
    if (code.length < 2 || id < FIRST || id > LAST) throw new ProtocolError('a learned code without an id');
    const taught = this.paths.get(id);
    if (code.length > 2) return this.#learn(id, taught, code.subarray(2));
    if (taught === undefined) throw new ProtocolError('a learned code that was not taught');
    return taught;
  }

  #learn(id, before, path) {
    if (path[0] === MARK) throw new ProtocolError('a taught path that begins with byte 1');
    this.size += path.length - (before?.length ?? 0);
    if (this.size > MAX_TAUGHT) throw new ProtocolError('taught paths that are too long');
    this.paths.set(id, Buffer.from(path)); // a copy, which doesn't hold on to all that came with it
    return path;
  }
}

module.exports = { MARK, Learner };
