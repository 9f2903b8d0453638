// Work that the server asks for before it draws a place (docs/contract.md): the number that makes a hash begin with so many
// zero bits. A worker, so that the page stays awake; an old-fashioned script, so that old browsers run it too. The browser's own
// hashing would not do: it is made for long texts, and absent without TLS.

"use strict";

// Signed, since a number above 2^31 would be kept as a fraction, which takes three times as long.
const K = Int32Array.from({ length: 64 }, ((primes) => (_, i) => fraction(Math.cbrt(primes[i])))(firstPrimes(64)));
const START = Int32Array.from(firstPrimes(8), (prime) => fraction(Math.sqrt(prime)));
const words = new Int32Array(64);

self.onmessage = ({ data: { challenge, bits } }) => self.postMessage(solve(challenge, bits));

/** → the proof: the challenge, and behind a dot the number. */
function solve(challenge, bits) {
  const seed = sha256(challenge);
  const block = new Int32Array(16);
  const hash = new Int32Array(8);
  block.set(seed);
  block[10] = 0x80000000; // The end of 40 bytes: the seed, and the number in eight, the highest first.
  block[15] = 320;
  for (let number = 0; ; number += 1) {
    block[8] = Math.floor(number / 2 ** 32);
    block[9] = number;
    compress(START, block, hash);
    if (zeroBits(hash) >= bits) return `${challenge}.${number}`;
  }
}

function zeroBits(hash) {
  return hash[0] === 0 ? 32 + Math.clz32(hash[1]) : Math.clz32(hash[0]);
}

/** Of a text of ASCII letters. */
function sha256(text) {
  const length = text.length;
  const blocks = new Int32Array((((length + 8) >> 6) + 1) * 16);
  for (let i = 0; i <= length; i += 1) {
    blocks[i >> 2] |= (i < length ? text.charCodeAt(i) : 0x80) << (24 - (i % 4) * 8);
  }
  blocks[blocks.length - 1] = length * 8;
  const hash = Int32Array.from(START);
  for (let at = 0; at < blocks.length; at += 16) compress(hash, blocks.subarray(at, at + 16), hash);
  return hash;
}

function compress(before, block, after) {
  words.set(block);
  for (let i = 16; i < 64; i += 1) {
    const near = words[i - 2], far = words[i - 15];
    const s0 = turn(far, 7) ^ turn(far, 18) ^ (far >>> 3);
    const s1 = turn(near, 17) ^ turn(near, 19) ^ (near >>> 10);
    words[i] = (words[i - 16] + s0 + words[i - 7] + s1) | 0;
  }
  let a = before[0], b = before[1], c = before[2], d = before[3];
  let e = before[4], f = before[5], g = before[6], h = before[7];
  for (let i = 0; i < 64; i += 1) {
    const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + words[i]) | 0;
    const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + t1) | 0;
    d = c; c = b; b = a; a = (t1 + t2) | 0;
  }
  after[0] = before[0] + a; after[1] = before[1] + b; after[2] = before[2] + c; after[3] = before[3] + d;
  after[4] = before[4] + e; after[5] = before[5] + f; after[6] = before[6] + g; after[7] = before[7] + h;
}

function turn(word, by) {
  return (word >>> by) | (word << (32 - by));
}

/** The first 32 bits behind the point. */
function fraction(value) {
  return ((value - Math.floor(value)) * 2 ** 32) >>> 0;
}

function firstPrimes(count) {
  const primes = [];
  for (let n = 2; primes.length < count; n += 1) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return primes;
}
