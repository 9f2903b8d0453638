// Every sentence of the page is so, for this visitor, now: a test for each that once was not.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { hall } from "./harness.mjs";
import { book, click, gone, hook, PHONE, ranked, reads, seat, stage, state, text } from "./stage.mjs";
import { Wire } from "./wire.mjs";

/** Chromium reports the connections that it cannot make. */
const CUT = { allow: /WebSocket connection to .* failed|ERR_INTERNET_DISCONNECTED|ERR_FAILED|40[349]/ };
const { server, scene } = stage();

/** Lets time pass on the page: `window.skippedMs`. */
const SKIP = () => {
  const now = performance.now.bind(performance);
  window.skippedMs = 0;
  performance.now = () => now() + window.skippedMs;
};

/** Plays behind a proxy that knows no WebSocket. */
async function withoutSockets(cast, options, play) {
  const wire = await Wire.start(server.ports[0]);
  wire.refuseSockets();
  try {
    const page = await (await cast.context({ ...CUT, ...options })).newPage();
    await play(page, `http://127.0.0.1:${wire.port}`);
  } finally {
    await wire.stop();
  }
}

describe("only what is so", { concurrency: 3 }, () => {
  scene("where WebSockets are blocked a visitor queues, is let in and books", (cast) => withoutSockets(cast, PHONE, async (page, url) => {
    const sale = await server.sale({ max_active: 1, hold_ttl_s: 120 });
    const [ahead] = await cast.line(sale, 2);
    await ahead.turn();
    await page.goto(`${url}/sales/${sale}`);
    await ranked(page, 1);
    await reads(page, "link", "Updated every few seconds");
    await gone(page, "stale");
    await server.set(sale, { max_active: 50 });
    await state(page, "granted");
    await page.locator(seat("A-1-1")).tap();
    await reads(page, "picked-count", "1 of 4 selected");
    await book(page);
    await state(page, "held");
    await server.admin("POST", `/bookings/${await text(page, "booking-id")}/confirm`);
    await state(page, "booked");
    await page.reload();
    await state(page, "booked");
    assert.equal((await server.bookings(sale)).length, 1);
  }));

  scene("without a socket: a seat that another takes, leaving, and a sale that closes", (cast) => withoutSockets(cast, {}, async (page, url) => {
    const sale = await server.sale();
    await page.goto(`${url}/sales/${sale}`);
    await state(page, "granted");
    await page.locator(`${seat("A-1-1")}.free`).waitFor();
    await (await cast.rival(sale)).book(["A-1-1"]);
    await page.locator(`${seat("A-1-1")}.taken`).waitFor();
    await click(page, "leave");
    await click(page, "ask-yes");
    await page.waitForSelector('body[data-lapsed="left"]');
    await click(page, "rejoin");
    await state(page, "granted");
    await server.set(sale, { phase: "closed" });
    await state(page, "closed");
  }));

  scene("someone who never joined is promised no place", (cast) => withoutSockets(cast, { lang: "en-GB" }, async (page, url) => {
    const sale = await server.sale({ phase: "paused" });
    await page.addInitScript(() => { Math.random = () => 0.01; }); // The shortest pauses between tries.
    await page.route("**/v1/**", (route) => route.abort());
    await page.goto(`${url}/sales/${sale}`);
    await reads(page, "stale", "The connection could not be made. The page keeps trying. You are not in line yet.");
    assert.match(await page.innerText("main"), /Joining the line…/);
    await click(page, "language");
    await reads(page, "stale", /아직 줄을 서지 못했습니다\.$/);
    await page.unroute("**/v1/**");
    await ranked(page, 0);
    await gone(page, "stale");
  }));

  scene("a turn that goes on while the page is cut off is no place that is kept", async (cast) => {
    const sale = await server.sale();
    const context = await cast.context(CUT);
    const page = await cast.tab(context, sale);
    await state(page, "granted");
    await reads(page, "link", "Live");
    await context.setOffline(true);
    await reads(page, "link", "Offline"); // At once, long before the socket is missed.
    await reads(page, "stale", /^Your device is offline\. .* It is still your turn, and its time runs on\.$/);
    await context.setOffline(false);
    await reads(page, "link", "Live");
    await gone(page, "stale");
  });

  scene("a browser that can make no WebSocket queues all the same", async (cast) => {
    const sale = await server.sale({ max_active: 1 });
    const [ahead] = await cast.line(sale, 1);
    await ahead.turn();
    for (const forbid of [() => { delete window.WebSocket; }, () => { window.WebSocket = class { constructor() { throw new Error("forbidden"); } }; }]) {
      const context = await cast.context();
      await context.addInitScript(forbid);
      const page = await cast.tab(context, sale);
      await state(page, "waiting");
      await reads(page, "link", "Updated every few seconds");
    }
  });

  scene("when the time is up nothing more is offered, until the server gives more", async (cast) => {
    const sale = await server.sale();
    const context = await cast.context();
    await context.addInitScript(SKIP);
    const page = await cast.tab(context, sale);
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await page.locator(`${hook("redeem")}:not([aria-disabled="true"])`).waitFor();
    await page.evaluate(() => { window.skippedMs = 3_600_000; });
    await page.locator(`${hook("redeem")}[aria-disabled="true"]`).waitFor();
    await page.locator(".turn-over").waitFor();
    await gone(page, "turn-promise");
    await context.setOffline(true);
    await reads(page, "stale", /^Your device is offline\. The page reconnects as soon as the network is back\.$/);
    await page.getByText("The page asks the server as soon as the connection is back.").waitFor();
    await context.setOffline(false);
    await page.evaluate(() => { window.skippedMs = 0; });
    await page.locator(`${hook("redeem")}:not([aria-disabled="true"])`).waitFor();
  });

  scene("seats that the visitor chose apart are not called the best there were", async (cast) => {
    const page = await cast.visitor(await server.sale());
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await page.locator(seat("A-4-2")).click();
    await book(page);
    await state(page, "booked");
    assert.doesNotMatch(await page.innerText("main"), /side by side/);
    await page.reload();
    await state(page, "booked");
    assert.doesNotMatch(await page.innerText("main"), /side by side/);
  });

  scene("what becomes of a hold is told after the sale is closed too", async (cast) => {
    const sale = await server.sale({ hold_ttl_s: 600 });
    const page = await cast.visitor(sale, CUT);
    await state(page, "granted");
    for (const guid of ["A-1-1", "A-1-2", "A-1-3", "A-1-4"]) await page.locator(seat(guid)).click();
    await book(page);
    await state(page, "held");
    assert.doesNotMatch(await page.innerText("main"), /You have booked/);
    await server.set(sale, { phase: "closed" });
    await page.waitForSelector('body[data-link="idle"]', { state: "attached" });
    await server.admin("POST", `/bookings/${await text(page, "booking-id")}/confirm`);
    await state(page, "booked");
  });

  scene("how many are in line is as old as it says", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    await context.addInitScript(SKIP);
    const page = await cast.tab(context, sale);
    await ranked(page, 0);
    assert.equal(await page.locator(hook("total-reason")).isVisible(), false);
    await page.evaluate(() => { window.skippedMs = 60_000; });
    await reads(page, "total-reason", "When your place last changed.");
  });

  scene("the time that is spoken is the time that is left", async (cast) => {
    const sale = await server.sale({ grant_ttl_s: 40, claim_s: 40 });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    // Both regions: what is urgent interrupts.
    await page.waitForFunction(() => [...document.querySelectorAll("[aria-live]")].some((node) => /^(40|3\d) seconds left$/.test(node.textContent)));
    assert.doesNotMatch(await page.innerText("body"), /5 minutes/);
  });

  scene("what was said of a turn is not so once it is used", async (cast) => {
    const sale = await server.sale({ grant_ttl_s: 40, claim_s: 40, plan: hall(1, 2) });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    const spoken = () => page.evaluate(() => [...document.querySelectorAll("[aria-live]")].map((node) => node.textContent).join(""));
    await page.waitForFunction(() => [...document.querySelectorAll("[aria-live]")].some((node) => node.textContent !== ""));
    await page.locator(seat("A-1-1")).click();
    await book(page);
    await state(page, "booked");
    assert.doesNotMatch(await spoken(), /seconds left|your turn/i);
    assert.match(await page.innerText(".again"), /You may book/);
    await server.set(sale, { blocked: ["A-1-2"] });
    await page.waitForSelector('body[data-phase="sold_out"]', { state: "attached" });
    assert.doesNotMatch(await page.innerText(".again"), /You may book/);
    assert.match(await page.innerText(".again"), /No seat is free now/);
  });

  scene("nobody is next where nobody is let in", async (cast) => {
    const sale = await server.sale({ phase: "paused", plan: hall(1, 2), max_active: 1 });
    const page = await cast.visitor(sale);
    await ranked(page, 0);
    const [rival] = await cast.line(sale, 1);
    const never = async (phase) => {
      await page.waitForSelector(`body[data-phase="${phase}"]`, { state: "attached" });
      await page.waitForFunction(() => document.title.startsWith("Nobody is ahead of you"));
      assert.match(await page.innerText("section.rank"), /^Nobody is ahead of you/);
      assert.doesNotMatch(await page.innerText("body"), /You are next|It turns into seat selection/);
    };
    await never("paused");
    await reads(page, "eta", "No estimate yet");
    await server.set(sale, { phase: "open" });
    await state(page, "granted");
    const last = await cast.visitor(sale);
    await ranked(last, 1);
    await click(page, "leave");
    await click(page, "ask-yes");
    await rival.turn();
    await last.waitForFunction(() => document.title.startsWith("You are next"));
    await rival.book(2);
    await last.waitForSelector('body[data-phase="sold_out"]', { state: "attached" });
    await last.waitForFunction(() => document.title.startsWith("Nobody is ahead of you"));
    assert.doesNotMatch(await last.innerText("body"), /You are next/);
  });

  scene("what sells out while one chooses is said at the turn, and taken back", async (cast) => {
    const sale = await server.sale({ plan: hall(1, 2), hold_ttl_s: 60 });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await reads(page, "turn-promise", /^Seats are not guaranteed/);
    const { booking } = await (await cast.rival(sale)).book(2);
    await reads(page, "turn-promise", /^Every seat is held by someone/);
    await server.admin("POST", `/bookings/${booking}/confirm`);
    await reads(page, "turn-promise", /^Sold out: every seat is taken/);
    await click(page, "language");
    await reads(page, "turn-promise", /^매진되었습니다/);
    await server.admin("DELETE", `/bookings/${booking}`);
    await reads(page, "turn-promise", /^좌석이 보장되지는 않습니다/);
  });

  scene("no notification is offered where the browser throws at one", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const page = async (permission, throws) => {
      const context = await cast.context({ userAgent: "Mozilla/5.0 (Linux; Android 14) Chrome/140 Mobile" });
      await context.addInitScript(([permission, throws]) => {
        window.Notification = class { constructor() { if (throws) throw new TypeError("Illegal constructor"); } };
        window.Notification.permission = permission;
      }, [permission, throws]);
      return cast.tab(context, sale);
    };
    const able = await page("default", false);
    await ranked(able, 0);
    await able.locator(hook("alert")).waitFor();
    for (const permission of ["default", "granted"]) {
      const unable = await page(permission, true);
      await state(unable, "waiting");
      assert.equal(await unable.locator(hook("alert")).count(), 0);
      assert.doesNotMatch(await unable.innerText("main"), /notif/i);
    }
  });

  scene("where nothing can be stored no reload is recommended", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    await context.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new Error("forbidden"); } }));
    const page = await cast.tab(context, sale);
    await ranked(page, 0);
    await reads(page, "keeps", /^Do not reload or close this page/);
  });

  scene("without JavaScript the first screen says so, in both languages", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context({ ...PHONE, javaScriptEnabled: false });
    const page = await context.newPage();
    for (const path of ["/", `/sales/${sale}`]) {
      await page.goto(server.url + path);
      const words = page.locator("noscript p");
      assert.match((await words.allInnerTexts()).join("\n"), /This page needs JavaScript.*\n.*JavaScript가 있어야 합니다/);
      const box = await words.last().boundingBox();
      assert.ok(box && box.y + box.height <= PHONE.viewport.height, "on the first screen");
    }
  });
});
