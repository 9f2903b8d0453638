// Behind a proxy that puts a path before everything, with no setting that says so.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { describe, test } from "node:test";

import { book, click, gone, hook, ranked, reads, seat, stage, state } from "./stage.mjs";

const PREFIX = "/tickets";
const { server, scene } = stage();

/** As nginx does with `location /tickets/ { proxy_pass http://waitroom/; }`: what is not below the prefix is not there. */
class Proxy {
  static async start(port) {
    const proxy = new Proxy();
    proxy.sockets = new Set();
    const inner = ({ url, method, headers }) => ({ host: "127.0.0.1", port, path: url.slice(PREFIX.length), method, headers });
    const isOurs = ({ url }) => url.startsWith(`${PREFIX}/`);
    proxy.server = http.createServer((request, answer) => {
      if (!isOurs(request)) {
        answer.writeHead(404).end();
        return;
      }
      request.pipe(http.request(inner(request), (from) => {
        answer.writeHead(from.statusCode, from.headers);
        from.pipe(answer);
      }).on("error", () => answer.destroy()));
    });
    proxy.server.on("upgrade", (request, near) => {
      if (!isOurs(request)) {
        near.destroy();
        return;
      }
      const { path, headers } = inner(request);
      const far = net.connect(port, "127.0.0.1");
      far.write(`GET ${path} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
      near.pipe(far).pipe(near);
      proxy.sockets.add(near);
      for (const end of [near, far]) end.on("error", () => {}).on("close", () => { near.destroy(); far.destroy(); });
    });
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }
}

async function behindPrefix(play) {
  const proxy = await Proxy.start(server.ports[0]);
  try {
    await play(proxy.url);
  } finally {
    await proxy.stop();
  }
}

describe("below a prefix", { concurrency: 2 }, () => {
  scene("from the list to the room, the turn, a booking, and back", (cast) => behindPrefix(async (url) => {
    const sale = await server.sale({ max_active: 1 });
    const [ahead] = await cast.line(sale, 1);
    await ahead.turn();
    const page = await (await cast.context()).newPage();
    await page.goto(`${url}${PREFIX}/`);
    await click(page, "language"); // Also that the page's own script runs.
    await page.locator(`a[data-sale="${sale}"]`).click();
    await state(page, "waiting");
    assert.equal(page.url(), `${url}${PREFIX}/sales/${sale}`);
    assert.equal(await page.locator(hook("link")).getAttribute("data-link"), "live");
    await click(page, "language");
    await reads(page, "link", "Live");
    await ranked(page, 0);
    await server.set(sale, { max_active: 50 });
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await book(page);
    await state(page, "booked");
    await page.reload();
    await state(page, "booked");
    await page.locator(".foot a").click();
    await page.waitForSelector('body[data-state="listed"]', { state: "attached" });
    assert.equal(page.url(), `${url}${PREFIX}/`);
  }));

  scene("whoever keeps nothing but the cookie finds his place by it", (cast) => behindPrefix(async (url) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    await context.addInitScript(() => { delete window.WebSocket; }); // The answer over HTTP sets it.
    await context.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new Error("forbidden"); } }));
    const page = await context.newPage();
    await page.goto(`${url}${PREFIX}/sales/${sale}`);
    await ranked(page, 0);
    assert.deepEqual((await context.cookies()).map(({ path }) => path), [`${PREFIX}/v1/sales/${sale}`]);
    await cast.line(sale, 1);
    await page.reload();
    await ranked(page, 0);
  }));

  scene("a slash too many is taken away, and what stands behind the # is kept", (cast) => behindPrefix(async (url) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    for (const base of [server.url, `${url}${PREFIX}`]) {
      const page = await context.newPage();
      await page.goto(`${base}/sales/${sale}/#kept`);
      await page.waitForURL((to) => to.pathname === `${new URL(base).pathname.replace(/\/$/, "")}/sales/${sale}`);
      await gone(page, "stale");
      await page.waitForSelector('body:not([data-state="loading"])', { state: "attached" });
    }
  }));

  test("a slash behind what is no sale leads nowhere", async () => {
    for (const odd of ["%2F%2Fother.example", "A B", "..%5C"]) {
      const answer = await fetch(`${server.url}/sales/${odd}/`, { redirect: "manual" });
      assert.equal(answer.status, 404, odd);
    }
    const answer = await fetch(`${server.url}/sales/spring/`, { redirect: "manual" });
    assert.deepEqual([answer.status, answer.headers.get("location")], [307, "../spring"]);
  });
});
