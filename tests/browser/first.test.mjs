// The first seconds of a crowd: the join leaves before the page is whole, and the page is light.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import http from "node:http";
import { describe, test } from "node:test";

import { REAL_HALL, until } from "./harness.mjs";
import { ranked, reads, stage, state } from "./stage.mjs";

const REQUESTS_MAX = 6;
const LINE_BYTES_MAX = 60_000;
const PLAN_BYTES_MAX = 15_000;
const { server, scene } = stage();

/** Counts what a page asks for, sockets too, and the bytes that come. */
async function meter(page) {
  const seen = { asked: [], bytes: 0, kept: 0 };
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Network.enable");
  cdp.on("Network.requestWillBeSent", ({ request }) => { if (!request.url.startsWith("data:")) seen.asked.push(request.url); });
  cdp.on("Network.webSocketCreated", ({ url }) => seen.asked.push(url));
  cdp.on("Network.requestServedFromCache", () => { seen.kept += 1; });
  cdp.on("Network.responseReceived", ({ response }) => { if (response.fromDiskCache) seen.kept += 1; });
  cdp.on("Network.loadingFinished", ({ encodedDataLength }) => { seen.bytes += encodedDataLength; });
  return seen;
}

/** An answer as it comes over the wire. → { status, headers, bytes } */
function raw(path, headers = {}) {
  return new Promise((resolve, reject) => {
    http.get(server.url + path, { headers }, (answer) => {
      let bytes = 0;
      answer.on("data", (chunk) => { bytes += chunk.length; });
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, bytes }));
    }).on("error", reject);
  });
}

async function linked(path) {
  const html = await (await fetch(server.url + path)).text();
  return [...html.matchAll(/(?:src|href)="([^"]*static\/[^"]+)"/g)].map(([, named]) => new URL(named, server.url + path).pathname);
}

describe("the first seconds", { concurrency: 2 }, () => {
  scene("the join leaves with the first script, before all else has come", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    let release;
    const released = new Promise((resolve) => { release = resolve; });
    await context.route(/room\.mjs|\.css|\/v1\/sales\/[^/]+$/, (route) => released.then(() => route.continue()));
    const page = await context.newPage();
    page.goto(`${server.url}/sales/${sale}`).catch(() => {});
    await until("the place", async () => (await server.show(sale)).waiting === 1);
    assert.equal(await page.locator("#room > *").count(), 0, "nothing is shown yet");
    release();
    await ranked(page, 0);
    await reads(page, "link", "Live");
    assert.equal((await server.show(sale)).waiting, 1, "and it is the same place");
  });

  scene("the socket opens while the first script is on its way; one that the server has given up is made anew", async (cast) => {
    for (const late of [false, true]) {
      const sale = await server.sale({ phase: "paused" });
      const context = await cast.context();
      let release;
      const released = new Promise((resolve) => { release = resolve; });
      await context.route(/\.mjs/, (route) => released.then(() => route.continue()));
      const page = await context.newPage();
      const sockets = [];
      page.on("websocket", (socket) => sockets.push(socket));
      page.goto(`${server.url}/sales/${sale}`).catch(() => {});
      await until("the socket", () => sockets.length === 1);
      // A server waits ten seconds for the join.
      if (late) await until("the socket's end", () => sockets[0].isClosed());
      release();
      await ranked(page, 0);
      assert.equal(sockets.length, late ? 2 : 1);
    }
  });

  scene("the line is light, and comes from the browser the next time", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const page = await (await cast.context()).newPage();
    const first = await meter(page);
    await page.goto(`${server.url}/sales/${sale}`);
    await ranked(page, 0);
    await reads(page, "sale-name", /Concert/);
    assert.ok(first.asked.length <= REQUESTS_MAX, first.asked.join("\n"));
    assert.ok(first.bytes <= LINE_BYTES_MAX, `${first.bytes} bytes`);
    const files = first.asked.filter((url) => url.includes("/static/")).length;
    const again = await meter(page);
    await page.reload();
    await ranked(page, 0);
    await reads(page, "sale-name", /Concert/);
    assert.ok(again.kept >= files, `${again.kept} of ${files} were kept`);
  });

  scene("who is late for the script of the turn still gets his turn", async (cast) => {
    const sale = await server.sale();
    const context = await cast.context({ allow: /ERR_FAILED/ });
    let failed = 0;
    await context.route(/turn\.mjs/, (route) => (failed++ === 0 ? route.abort() : route.continue()));
    const page = await cast.tab(context, sale);
    await state(page, "granted");
    await page.locator("circle.seat.free").first().waitFor();
    assert.ok(failed > 1);
  });

  scene("a file that does not come is asked for again by the page itself", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    for (const [path, file, there] of [
      [`/sales/${sale}`, /first\.mjs/, "waiting"],
      [`/sales/${sale}`, /room\.mjs/, "waiting"],
      [`/sales/${sale}`, /style\.css/, "waiting"],
      ["/", /sales\.mjs/, "listed"],
    ]) {
      const context = await cast.context({ allow: /ERR_FAILED/ });
      let failed = 0;
      await context.route(file, (route) => (failed++ === 0 ? route.abort() : route.continue()));
      const page = await context.newPage();
      let loads = 0;
      page.on("load", () => { loads += 1; });
      await page.goto(server.url + path);
      await until(`${file} once more`, () => failed > 1 && loads > 1);
      await state(page, there);
      assert.equal(await page.locator("#again").isVisible(), false);
      await context.close();
    }
  });

  scene("while a file cannot be had the page says so, and waits until it can be had itself", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context({ allow: /503/ });
    const page = await context.newPage();
    let away = false;
    let asked = 0;
    await context.route(/first\.mjs/, (route) => { away ||= asked === 0; return away ? route.fulfill({ status: 503 }) : route.continue(); });
    await context.route(/sales\/[^/]+$/, (route) => {
      if (away && route.request().resourceType() === "fetch" && ++asked < 3) return route.fulfill({ status: 503 });
      away &&= asked < 3;
      return route.continue();
    });
    await page.goto(`${server.url}/sales/${sale}`);
    await page.getByText("It is loaded again by itself.").waitFor();
    await page.getByText("자동으로 다시 불러옵니다.").waitFor();
    await ranked(page, 0);
    assert.equal(asked, 3);
    assert.equal((await server.show(sale)).waiting, 1);
  });

  test("files are named by their release, pressed, and kept for good", async () => {
    const sale = await server.sale();
    for (const path of new Set([...await linked(`/sales/${sale}`), ...await linked("/")])) {
      const pressed = await raw(path, { "accept-encoding": "gzip, br" });
      assert.equal(pressed.headers["cache-control"], "public, max-age=31536000, immutable", path);
      assert.equal(pressed.headers["content-encoding"], "br");
      assert.match(pressed.headers.vary, /\baccept-encoding\b/i);
      assert.equal((await raw(path, { "accept-encoding": "gzip" })).headers["content-encoding"], "gzip");
      const plain = await raw(path);
      assert.equal(plain.headers["content-encoding"], undefined);
      assert.ok(pressed.bytes < plain.bytes / 2);
      // Of another release: this one's, but not to be kept under that name.
      const other = await raw(path.replace(/static\/[^/]+/, "static/other"));
      assert.match(other.headers["cache-control"], /max-age=0, must-revalidate/);
    }
    assert.equal((await raw("/static/any/plan.mjs")).status, 404);
  });

  test("a page is asked for again, and not sent again", async () => {
    const page = await raw(`/sales/${await server.sale()}`, { "accept-encoding": "br" });
    assert.doesNotMatch(page.headers["content-security-policy"], /unsafe|nonce/);
    for (const [path, scripts] of [["/sales/any", 2], ["/", 1]]) {
      const own = [...(await (await fetch(server.url + path)).text()).matchAll(/<script>([^]*?)<\/script>/g)];
      assert.equal(own.length, scripts);
      const hashes = own.map(([, script]) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
      assert.ok((await raw(path)).headers["content-security-policy"].includes(`script-src 'self' ${hashes.join(" ")};`));
    }
    const { etag } = page.headers;
    for (const known of [etag, `W/${etag}`, `"other", W/${etag}`]) {
      const again = await raw("/sales/any", { "accept-encoding": "gzip", "if-none-match": known });
      assert.deepEqual([again.status, again.bytes], [304, 0], known);
      assert.equal(again.headers["cache-control"], page.headers["cache-control"]);
      assert.ok(again.headers.etag);
    }
  });

  test("the plan of a real hall is small, and not sent again", async () => {
    const path = `/v1/sales/${await server.sale({ plan: REAL_HALL })}/plan`;
    for (const encoding of ["br", "gzip"]) {
      const { headers, bytes } = await raw(path, { "accept-encoding": encoding });
      assert.equal(headers["content-encoding"], encoding);
      assert.ok(bytes <= PLAN_BYTES_MAX, `${bytes} bytes of ${encoding}`);
      const again = await raw(path, { "if-none-match": `W/${headers.etag}` });
      assert.deepEqual([again.status, again.headers["cache-control"]], [304, headers["cache-control"]]);
    }
  });
});
