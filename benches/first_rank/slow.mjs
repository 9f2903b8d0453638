// A line as slow as a phone's: whoever connects through it waits for every round trip, and shares its width with his other connections.
import { createServer, connect } from 'node:net';

/** A proxy for `port`. `roundTripMs` as the peers would see it, TCP's own handshake too; the width counts downwards. → { port, close } */
export function slowLine(port, { roundTripMs, bytesPerS }) {
  let freeAt = 0;
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => { near.destroy(); far.destroy(); });
      socket.on('close', () => sockets.delete(socket));
    }
    // The kernel has answered the handshake at once: what is sent first waits for it here.
    const openAt = performance.now() + roundTripMs;
    carry(near, far, () => Math.max(performance.now(), openAt) + roundTripMs / 2);
    carry(far, near, (bytes) => {
      freeAt = Math.max(freeAt, performance.now()) + bytes / bytesPerS * 1000;
      return freeAt + roundTripMs / 2;
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({
      port: server.address().port,
      close() {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    }));
  });
}

/** In order, each when `at` says. */
function carry(from, to, at) {
  const later = (when, run) => setTimeout(run, Math.max(0, when - performance.now()));
  from.on('data', (chunk) => later(at(chunk.length), () => to.write(chunk)));
  from.on('end', () => later(at(0), () => to.end()));
}
