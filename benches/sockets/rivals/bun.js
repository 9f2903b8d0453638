// The same by Bun: each socket is sent its own number.
const work = JSON.parse(process.argv[2]);
const SLICE_MS = 2.5;
const sockets = [];

Bun.serve({
  port: work.port,
  hostname: '0.0.0.0',
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('a WebSocket, please', { status: 426 })),
  websocket: {
    perMessageDeflate: false,
    open: (socket) => { sockets.push(socket); },
    message: () => {},
  },
});

if (work.pushes_per_s > 0) {
  let [began, sent, next] = [0, 0, 0];
  setInterval(() => {
    if (sockets.length < work.watchers) return;
    began ||= performance.now();
    const all = Math.floor((performance.now() - began) * work.pushes_per_s / 1000);
    // What was not possible in time is not made up for.
    const from = Math.max(sent, all - work.pushes_per_s / 4);
    for (sent = from; sent < all; sent++) {
      const rank = Math.max(0, 999 - Math.floor(sent / work.watchers));
      const text = `{"type":"rank","rank":${rank},"total":999,"eta_s":[9,9]`;
      sockets[next].send(`${text.padEnd(work.bytes - 1)}}`);
      next = (next + 1) % work.watchers;
    }
  }, SLICE_MS);
}
