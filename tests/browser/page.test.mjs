// The list of sales and the line: everything a visitor sees before his turn.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { hall, pause, until } from "./harness.mjs";
import { click, fits, gone, hook, PHONE, ranked, reads, stage, state } from "./stage.mjs";

const { server, scene } = stage();

describe("before the turn", { concurrency: 3 }, () => {
  scene("the list leads to a sale", async (cast) => {
    const sale = await server.sale({ phase: "scheduled", opens_at: new Date(Date.now() + 3_600_000).toISOString() });
    const context = await cast.context(PHONE);
    const page = await context.newPage();
    await page.goto(server.url);
    await state(page, "listed");
    const card = page.locator(`a[data-sale="${sale}"]`);
    assert.match(await card.innerText(), /Concert \d+\s+Not open yet\s+Opens .* · 40 of 40 seats free/);
    assert.match(await page.locator('a[data-sale="demo"]').innerText(), /1,222 of 1,222 seats free/);
    await fits(page);
    await click(page, "language");
    assert.match(await card.innerText(), /시작 전\s+.* 시작 · 전체 40석 중 40석 남음/);
    await card.click();
    await page.waitForURL(`**/sales/${sale}`);
    await state(page, "waiting");
    await reads(page, "sale-name", /Concert/);
    await reads(page, "language", "English"); // Korean was chosen on the list, and holds here.
    assert.equal(await page.getAttribute("html", "lang"), "ko");
    assert.equal((await context.cookies()).length, 0, "a page sets no cookie");
  });

  scene("an unknown sale is told apart", async (cast) => {
    for (const sale of ["nowhere", "a%2fb", "%", "%ff"]) {
      const page = await cast.visitor(sale, { allow: /40[04]/ });
      await state(page, "unknown");
      assert.match(await page.innerText("main"), /There is no such sale/);
    }
  });

  scene("a countdown runs before the opening, and the turn comes by itself", async (cast) => {
    const sale = await server.sale({ phase: "scheduled", opens_at: new Date(Date.now() + 590_000).toISOString() });
    const page = await cast.visitor(sale);
    await state(page, "waiting");
    await reads(page, "opens-in", /^[5-9]:\d\d$/);
    assert.equal(await page.getAttribute("body", "data-phase"), "scheduled");
    await reads(page, "eta", "No estimate yet");
    const seen = await page.locator(hook("opens-in")).innerText();
    await reads(page, "opens-in", new RegExp(`^(?!${seen}$)`));
    await server.set(sale, { opens_at: new Date(Date.now() + 3_000).toISOString() });
    await state(page, "granted");
    await page.waitForFunction(() => /It is your turn!/.test(document.title));
  });

  scene("the rank falls live, in the visitor's language, and a reload keeps it", async (cast) => {
    const sale = await server.sale({ phase: "paused", rate: 4, max_active: 1 });
    const ahead = await cast.line(sale, 6);
    const korean = await cast.visitor(sale, { lang: "ko-KR" });
    await ranked(korean, 6);
    const english = await cast.visitor(sale, PHONE);
    await ranked(english, 7);
    assert.match(await korean.innerText("section.rank"), /내 앞\s*6명/);
    assert.match(await english.innerText("section.rank"), /7\s*ahead of you/);
    assert.match(await english.title(), /^7 ahead of you · Concert/);
    await reads(english, "total", "8");
    await fits(english);

    ahead[5].leave();
    await ranked(korean, 5);
    await ranked(english, 6);
    assert.match(await english.innerText("section.rank"), /Joined with 7 ahead\s*14% of the way/);
    await english.reload();
    await ranked(english, 6);
    assert.match(await english.innerText("section.rank"), /Joined with 7 ahead/, "the progress bar remembers the start");
    const again = await korean.context().newPage(); // Closed and come back: the same place.
    await korean.close();
    await again.goto(korean.url());
    await ranked(again, 5);

    await server.set(sale, { phase: "open" });
    for (const [gone, rival] of ahead.slice(0, 5).entries()) {
      await rival.turn();
      await ranked(again, 4 - gone);
      rival.leave();
    }
    await state(again, "granted");
    await ranked(english, 0);
    assert.match(await english.innerText("section.rank"), /You are next/);
  });

  scene("a notice comes and goes; a pause is explained", async (cast) => {
    const sale = await server.sale({ max_active: 1 });
    const [first] = await cast.line(sale, 2);
    await first.turn();
    const page = await cast.visitor(sale);
    await ranked(page, 1);
    await gone(page, "notice");
    const words = "<b>Doors</b> open at 7 & not before";
    await server.set(sale, { notice: words });
    await reads(page, "notice", `Message from the organiser ${words}`);
    await page.reload();
    await reads(page, "notice", `Message from the organiser ${words}`);
    await server.set(sale, { notice: "" });
    await gone(page, "notice");

    await server.set(sale, { phase: "paused" });
    await reads(page, "why", /The organiser has paused the sale/);
    await reads(page, "eta-reason", /stands still/);
    first.leave();
    await pause(1_200);
    await ranked(page, 1); // The slot is free, but nobody is admitted.
    await server.set(sale, { phase: "open" });
    await gone(page, "why");
    await ranked(page, 0);
  });

  scene("leaving is asked for, kept over a reload, and ends at the end of the line", async (cast) => {
    const sale = await server.sale({ phase: "scheduled" });
    const page = await cast.visitor(sale);
    await ranked(page, 0);
    await cast.line(sale, 2);
    await click(page, "leave");
    await click(page, "ask-no");
    await state(page, "waiting");
    await click(page, "leave");
    await click(page, "ask-yes");
    await state(page, "lapsed");
    assert.equal(await page.getAttribute("body", "data-lapsed"), "left");
    await until("the place to be gone", async () => (await server.show(sale)).waiting === 2);
    await page.reload();
    await state(page, "lapsed"); // Nobody is put in line behind his back.
    await click(page, "rejoin");
    await ranked(page, 2);
  });

  scene("a missed turn comes back once, ahead of the line; missed again it is gone", async (cast) => {
    const sale = await server.sale({ max_active: 1, claim_s: 1 });
    const context = await cast.context();
    // A tab in the background: it must not claim the turn by itself.
    await context.addInitScript(() => Object.defineProperty(document, "visibilityState", { get: () => "hidden" }));
    const page = await cast.tab(context, sale);
    await state(page, "lapsed");
    assert.equal(await page.getAttribute("body", "data-lapsed"), "missed");
    // The title flashes between this and the name of the sale.
    await page.waitForFunction(() => /You missed your turn/.test(document.title));
    // The other's turn is not missed while a busy machine looks at the page.
    await server.set(sale, { claim_s: 30 });
    const [other] = await cast.line(sale, 3);
    await other.turn();
    await server.set(sale, { claim_s: 9 });
    await click(page, "rejoin");
    await state(page, "waiting");
    await ranked(page, 0);
    other.leave();
    await state(page, "granted"); // Before the two who came earlier than the return.
    await reads(page, "claim", /Confirm within 0:0\d that you are here/);
    await page.waitForSelector('body[data-lapsed="expired"]');
    assert.match(await page.innerText("main"), /Join the line again|end of the line/);
  });

  scene("a turn in the background is claimed by a click", async (cast) => {
    const sale = await server.sale({ claim_s: 20 });
    const context = await cast.context();
    await context.addInitScript(() => Object.defineProperty(document, "visibilityState", { get: () => "hidden" }));
    const page = await cast.tab(context, sale);
    await state(page, "granted");
    await page.locator(hook("claim")).waitFor({ state: "attached" });
    await page.locator(hook("claim-button")).press("Enter");
    await page.locator("circle.seat").first().waitFor();
    await gone(page, "claim");
    assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY", "the keyboard has not lost its place");
  });

  scene("all held, sold out, and open again when a seat is given back", async (cast) => {
    const sale = await server.sale({ plan: hall(1, 2), hold_ttl_s: 60, max_active: 1 });
    const rival = await cast.rival(sale);
    await rival.turn();
    const page = await cast.visitor(sale, { lang: "ko-KR" });
    await ranked(page, 0);
    const { booking } = await rival.book(2);
    await reads(page, "why", /남은 좌석을 모두 다른 분이 잡고 있습니다/);
    assert.equal(await page.getAttribute("body", "data-phase"), "all_held");
    await server.admin("POST", `/bookings/${booking}/confirm`);
    await reads(page, "why", /매진되었습니다/);
    assert.equal(await page.getAttribute("body", "data-phase"), "sold_out");
    await state(page, "waiting");
    await server.admin("DELETE", `/bookings/${booking}`);
    await state(page, "granted");
  });

  scene("an open page takes the new name of its sale with the next phase", async (cast) => {
    const sale = await server.sale({ phase: "scheduled", name: "Old name" });
    const page = await cast.visitor(sale);
    await ranked(page, 0);
    await reads(page, "sale-name", "Old name");
    await server.set(sale, { name: "New name", phase: "paused" });
    await reads(page, "sale-name", "New name");
  });

  scene("a closed sale says so, live and after a reload", async (cast) => {
    const sale = await server.sale({ phase: "scheduled" });
    const page = await cast.visitor(sale, { allow: /40[34]|410/ });
    await ranked(page, 0);
    await server.set(sale, { phase: "closed" });
    await state(page, "closed");
    assert.match(await page.innerText("main"), /The sale is closed|closed/i);
    await page.reload();
    await state(page, "closed");
  });
});
