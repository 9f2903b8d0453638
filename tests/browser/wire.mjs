// A cable between the browser and the server, to cut, to freeze, and to mend.

import { once } from "node:events";
import net from "node:net";

const REFUSED = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

export class Wire {
  static async start(to) {
    const wire = new Wire();
    wire.ends = new Set();
    wire.mood = "whole";
    wire.server = net.createServer((near) => {
      if (wire.mood === "cut") {
        near.destroy();
        return;
      }
      const far = net.connect(to, "127.0.0.1");
      for (const end of [near, far]) {
        wire.ends.add(end);
        end.on("error", () => {}).on("close", () => {
          wire.ends.delete(end);
          near.destroy();
          far.destroy();
        });
      }
      near.on("data", (data) => {
        if (wire.mood === "deaf to sockets" && /\r\nupgrade: websocket/i.test(data)) near.end(REFUSED);
        else if (wire.mood !== "frozen") far.write(data);
      });
      far.on("data", (data) => { if (wire.mood === "whole" || wire.mood === "deaf to sockets") near.write(data); });
    });
    wire.server.listen(0, "127.0.0.1");
    await once(wire.server, "listening");
    wire.port = wire.server.address().port;
    return wire;
  }

  cut() {
    this.mood = "cut";
    for (const end of this.ends) end.destroy();
  }

  /** Nothing gets through, and nobody is told. */
  freeze() { this.mood = "frozen"; }

  /** As a proxy does that knows no WebSocket; all else gets through. */
  refuseSockets() { this.mood = "deaf to sockets"; }

  /** Only the server's answers are lost. */
  muffle() { this.mood = "muffled"; }

  mend() { this.mood = "whole"; }

  async stop() {
    this.cut();
    this.server.close();
    await once(this.server, "close");
  }
}
