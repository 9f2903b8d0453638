// Cuts, second tabs and killed servers: the page comes back by itself and the place is kept.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { pause, until } from "./harness.mjs";
import { book, click, fits, gone, hook, PHONE, ranked, reads, seat, stage, state } from "./stage.mjs";
import { Wire } from "./wire.mjs";

/**
 * Chromium reports a connection that it cannot make, and that a page which asks over HTTP meanwhile asked for the seats when its turn was
 * spent already; everything else stays a fault.
 */
const CUT = { allow: /status of 409 .*\/places\/me\/seats|WebSocket connection to .* failed|ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED/ };
const { server, scene } = stage();

const link = (page, word) => page.waitForSelector(`body[data-link="${word}"]`, { state: "attached" });

describe("the connection", { concurrency: 3 }, () => {
  scene("a second tab asks first; it takes over only when told to", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    const first = await cast.tab(context, sale);
    await ranked(first, 0);
    await cast.line(sale, 1);
    const second = await cast.tab(context, sale);
    await state(second, "elsewhere");
    await pause(300);
    await state(first, "waiting");
    await click(second, "stay");
    await gone(second, "stay");
    await click(second, "use-here");
    await ranked(second, 0);
    await state(first, "replaced");
    await pause(1_500); // The replaced one does not fight back.
    await state(second, "waiting");
    await click(first, "use-here");
    await ranked(first, 0);
    await state(second, "replaced");
    assert.equal((await server.show(sale)).waiting, 2);
  });

  scene("the first tab is closed: the second one goes on by itself", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    const first = await cast.tab(context, sale);
    await ranked(first, 0);
    const second = await cast.tab(context, sale);
    await state(second, "elsewhere");
    await first.close({ runBeforeUnload: true });
    await ranked(second, 0);
  });

  scene("offline and back: the page says so and reconnects at once", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const [ahead] = await cast.line(sale, 2);
    const wire = await Wire.start(server.ports[0]);
    try {
      const context = await cast.context({ ...CUT, ...PHONE });
      await context.addInitScript(() => {
        Math.random = () => 0.999;
        // And each of them a hundred times as long: nothing but the network's return ends it.
        const { setTimeout } = globalThis;
        globalThis.setTimeout = (run, ms, ...more) => setTimeout(run, globalThis.patient && ms >= 1_000 ? ms * 100 : ms, ...more);
        addEventListener("online", () => { globalThis.patient = false; });
      });
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${wire.port}/sales/${sale}`);
      await ranked(page, 2);
      await page.evaluate(() => { globalThis.patient = true; });
      await context.setOffline(true);
      wire.cut();
      await link(page, "cut");
      await reads(page, "stale", /^Your device is offline\. .* Your place is kept\.$/);
      await ranked(page, 2); // What was last known stays on the screen.
      await fits(page);
      ahead.leave();
      await server.set(sale, { name: "New name" });
      wire.mend();
      await context.setOffline(false);
      await link(page, "live");
      await ranked(page, 1);
      await gone(page, "stale");
      await reads(page, "sale-name", "New name");
    } finally {
      await wire.stop();
    }
  });

  scene("a connection that is dead without a close is found out", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    await cast.line(sale, 1);
    const wire = await Wire.start(server.ports[0]);
    try {
      const page = await (await cast.context(CUT)).newPage();
      await page.goto(`http://127.0.0.1:${wire.port}/sales/${sale}`);
      await ranked(page, 1);
      wire.freeze();
      await page.evaluate(() => dispatchEvent(new Event("focus"))); // The visitor looks at the page again.
      await page.waitForSelector('body:not([data-link="live"])', { state: "attached" });
      wire.cut();
      wire.mend();
      await link(page, "live");
      await ranked(page, 1);
    } finally {
      await wire.stop();
    }
  });

  scene("cut off while booking: the answer comes with the reconnect, and only one booking", async (cast) => {
    const sale = await server.sale();
    const wire = await Wire.start(server.ports[0]);
    try {
      const page = await (await cast.context(CUT)).newPage();
      await page.goto(`http://127.0.0.1:${wire.port}/sales/${sale}`);
      await state(page, "granted");
      await page.locator(seat("A-1-1")).click();
      wire.muffle(); // The request arrives, its answer does not.
      await book(page);
      await until("the booking", async () => (await server.bookings(sale)).length === 1);
      wire.cut();
      wire.mend();
      await state(page, "booked");
      assert.equal((await server.bookings(sale)).length, 1);
    } finally {
      await wire.stop();
    }
  });

});

// Alone: these take the server from everybody.
describe("the server", () => {
  scene("a server that is killed and started again finds everybody's place", async (cast) => {
    const sale = await server.sale({ phase: "paused", max_active: 2 });
    await cast.line(sale, 2);
    const page = await cast.visitor(sale, { ...CUT, lang: "ko-KR" });
    await ranked(page, 2);
    const buyer = await cast.visitor(sale, CUT);
    await ranked(buyer, 3);
    await server.kill("SIGKILL");
    await link(page, "cut");
    await server.run();
    await link(page, "live");
    await link(buyer, "live");
    await ranked(page, 2);
    await ranked(buyer, 3);
    assert.equal((await server.show(sale)).waiting, 4);
    for (const rival of cast.rivals) rival.close();
    cast.rivals = [];
    await server.set(sale, { phase: "open", max_active: 10 });
    await state(buyer, "granted");
    await buyer.locator(seat("A-1-1")).click();
    await server.kill("SIGKILL"); // Once more, in the middle of a turn.
    await link(buyer, "cut");
    await server.run();
    await link(buyer, "live");
    await state(buyer, "granted");
    await reads(buyer, "picked-count", "1 of 4 selected");
    await book(buyer);
    await state(buyer, "booked");
    assert.deepEqual((await server.bookings(sale)).map(({ seats }) => seats), [["A-1-1"]]);
  });

  scene("a server that drains sends its visitors away in peace", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const page = await cast.visitor(sale, CUT);
    await ranked(page, 0);
    await cast.line(sale, 1);
    assert.equal(await server.kill("SIGTERM"), 0);
    await link(page, "cut");
    await server.run();
    await link(page, "live");
    await ranked(page, 0);
    await page.locator(hook("stale")).waitFor({ state: "hidden" });
  });
});
