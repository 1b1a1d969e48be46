'use strict';

const { RpcError } = require('./errors');
const { META, RESPONSE, ZIPCODE, EMPTY, MAX_CODE } = require('./packet');
const { NOT_PROCESSED, oneEntry } = require('./metadata');
const { inflateCode } = require('./inflate');
const { unpack } = require('./body');

// errorResponse is the response with an error. It is one packet: what is too much is left out.
function errorResponse(error, frame) {
  const code = error instanceof RpcError ? error.code : 'ERROR';
  const head = error.notProcessed ? oneEntry(NOT_PROCESSED) : EMPTY;
  const message = cut(Buffer.from(error.message || code), frame - head.length);
  return { flag: RESPONSE | (error.notProcessed ? META : 0), code, payload: Buffer.concat([head, message]) };
}

// plainErrorResponse is the same for a version 1 peer: the text of a plain error is its code.
function plainErrorResponse(error) {
  const message = Buffer.from(error.message || 'ERROR');
  const code = error instanceof RpcError ? error.code : cut(message.filter((byte) => byte !== 0), MAX_CODE);
  return { flag: RESPONSE, code, payload: message };
}

// cut shortens text to at most length bytes of whole characters.
function cut(text, length) {
  let end = Math.min(length, text.length);
  while (end > 0 && (text[end] & 0xc0) === 0x80) end--;
  return text.subarray(0, end);
}

// responseError is the error that a response with a code says.
function responseError(packet, limit) {
  const code = packet.flag & ZIPCODE ? inflateCode(packet.code) : packet.code;
  return new RpcError(code.toString(), unpack(packet, limit).body.bytes.toString());
}

module.exports = { errorResponse, plainErrorResponse, responseError };
