// The turn: seats picked on the map or by the server, others who are faster, holds, and every end.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe } from "node:test";

import { hall, REAL_HALL, until } from "./harness.mjs";
import { book, click, fits, gone, hook, PHONE, ranked, reads, seat, stage, state, text } from "./stage.mjs";

const SHOP_KEY = "a shop's key that is long enough to sign identities with";
const { server, scene } = stage(["--identity-key", SHOP_KEY]);

function identity(sub, aud) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, aud, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${signed}.${createHmac("sha256", SHOP_KEY).update(signed).digest("base64url")}`;
}

async function bookedSeats(page) {
  return page.locator(`${hook("booked-seats")} li`).evaluateAll((items) => items.map((item) => item.dataset.seat));
}

/** The seat's look on the map. */
async function looks(page, guid, word) {
  await page.waitForSelector(`${seat(guid)}.${word}`, { state: "attached" });
}

describe("the turn", { concurrency: 3 }, () => {
  scene("two seats of the real hall are picked, booked, and in PostgreSQL", async (cast) => {
    const sale = await server.sale({ plan: REAL_HALL });
    const page = await cast.visitor(sale, { lang: "ko-KR" });
    await state(page, "granted");
    await page.locator("circle.seat").first().waitFor();
    assert.equal(await page.locator("circle.seat").count(), 1222);
    assert.match(await page.locator(seat("D-14-1")).getAttribute("aria-label"), /^Block D 14열 1번 · Kategorie II · 선택 가능$/);
    assert.equal(await page.locator(hook("redeem")).isDisabled(), true);
    await page.locator(seat("D-14-1")).click();
    await page.locator(seat("D-14-2")).click();
    await page.locator(seat("D-14-3")).click();
    await page.locator(seat("D-14-3")).click(); // Thought better of it.
    await reads(page, "picked-count", "4석 중 2석 선택");
    await looks(page, "D-14-2", "picked");
    await looks(page, "D-14-3", "free");
    await book(page);
    await state(page, "booked");
    assert.deepEqual(await bookedSeats(page), ["D-14-1", "D-14-2"]);
    assert.match(await page.innerText("main"), /예매가 완료되었습니다/);
    const [booking, ...others] = await server.bookings(sale);
    assert.deepEqual([booking.seats, booking.status, others], [["D-14-1", "D-14-2"], "confirmed", []]);
    await reads(page, "booking-id", booking.booking);
    await page.reload();
    await state(page, "booked");
    assert.deepEqual(await bookedSeats(page), ["D-14-1", "D-14-2"]);

    await click(page, "again"); // Two of four: another place, another turn.
    await state(page, "granted");
    await looks(page, "D-14-1", "taken");
    await reads(page, "redeem", "좌석을 골라 주세요 (최대 2석)");
  });

  scene("what was picked keeps its name over a reload, however late the plan comes", async (cast) => {
    const sale = await server.sale({ plan: REAL_HALL });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.locator("circle.seat.free").first().waitFor();
    await page.locator("circle.seat.free").first().focus();
    await page.keyboard.press("Enter");
    await reads(page, "picked-count", "1 of 4 selected");
    const chosen = await text(page, "picked");
    assert.match(chosen, /row .*, seat .*Kategorie/);
    let letGo;
    const held = new Promise((resolve) => { letGo = resolve; });
    await page.route("**/plan", (route) => held.then(() => route.continue()));
    await page.reload();
    await reads(page, "picked-count", "1 of 4 selected");
    assert.notEqual(await text(page, "picked"), chosen, "the plan is not there yet");
    letGo();
    await reads(page, "picked", chosen);
  });

  scene("a block's long name is whole on the map of a narrow screen, in both alphabets", async (cast) => {
    for (const name of ["Grandstand North, upper tier, behind the orchestra", "북쪽 관람석 위층 오케스트라 뒤 가장 높은 자리"]) {
      const plan = hall(4, 10);
      plan.zones[0].name = name;
      const page = await cast.visitor(await server.sale({ plan }), { viewport: { width: 320, height: 640 } });
      await state(page, "granted");
      const box = (selector) => page.locator(selector).evaluate((node) => {
        const { left, right } = node.getBoundingClientRect();
        return { left, right };
      });
      await page.locator(".zone-label").waitFor({ state: "attached" });
      const [label, map] = [await box(".zone-label"), await box("svg.hall")];
      assert.ok(label.left >= map.left - 1 && label.right <= map.right + 1, `${name}: ${JSON.stringify({ label, map })}`);
    }
  });

  scene("the best seats together, of a category", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await click(page, "mode-best");
    await reads(page, "best-count", "2");
    await click(page, "best-more");
    await page.locator(hook("best-category")).selectOption("Standard");
    await book(page, "redeem-best");
    await state(page, "booked");
    const [{ seats }] = await server.bookings(sale);
    assert.equal(seats.length, 3);
    assert.ok(seats.every((guid) => /^A-[34]-/.test(guid)), String(seats));
    assert.deepEqual(await bookedSeats(page), seats);
  });

  scene("no seats together, said in words; then without", async (cast) => {
    const sale = await server.sale({ plan: hall(1, 5), blocked: ["A-1-2", "A-1-4"] });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await looks(page, "A-1-2", "taken");
    await click(page, "mode-best");
    await book(page, "redeem-best");
    await reads(page, "refusal", /There are not that many free seats side by side/);
    assert.equal(await page.locator(hook("refusal")).getAttribute("data-reason"), "no_seats_together");
    await page.locator(hook("best-together")).uncheck();
    await book(page, "redeem-best");
    await state(page, "booked");
    assert.match(await page.innerText("main"), /no seats side by side/);
  });

  scene("a seat that another takes turns taken live; a race is refused in words", async (cast) => {
    const sale = await server.sale({ plan: REAL_HALL });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    const [one, two] = await cast.line(sale, 2);
    await page.locator(seat("D-14-5")).click();
    await one.book(["D-14-5", "D-14-6"]);
    await looks(page, "D-14-5", "taken");
    await looks(page, "D-14-6", "taken");
    await reads(page, "picked-lost", "Just taken by someone else: Block D, row 14, seat 5.");

    await page.locator(seat("D-14-7")).click();
    await page.locator(seat("D-14-8")).click();
    await two.turn();
    // The news of the other booking is kept from this page, as if it were still on its way.
    await page.evaluate(() => {
      const { parse } = JSON;
      JSON.parse = (words) => (words.includes("seats_changed") ? { type: "pong" } : parse(words));
    });
    await two.book(["D-14-8"]);
    await book(page);
    await reads(page, "refusal", /^Someone else was faster\. Nothing has been booked\..* Block D, row 14, seat 8$/);
    assert.equal(await page.locator(hook("refusal")).getAttribute("data-reason"), "seat_taken");
    await looks(page, "D-14-8", "taken");
    await reads(page, "picked-count", "1 of 4 selected");
    await book(page);
    await state(page, "booked");
    assert.deepEqual(await bookedSeats(page), ["D-14-7"]);
  });

  scene("what is booked in this turn elsewhere is shown here too", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.evaluate(async ([api, place]) => {
      const headers = { authorization: `Bearer ${JSON.parse(localStorage.getItem(place))}`, "content-type": "application/json" };
      const { granted } = await (await fetch(`${api}/places/me`, { headers })).json();
      const body = JSON.stringify({ request: "elsewhere", token: granted.token, seats: ["A-1-1"] });
      await fetch(`${api}/places/me/redeem`, { method: "POST", headers, body });
    }, [`/v1/sales/${sale}`, `waitroom.${sale}.place`]);
    await state(page, "booked");
  });

  scene("held, then confirmed by the shop", async (cast) => {
    const sale = await server.sale({ hold_ttl_s: 120 });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await book(page);
    await state(page, "held");
    await reads(page, "hold-left", /^(2:00|1:5\d)$/);
    assert.match(await page.innerText("main"), /Not booked yet/);
    await gone(page, "again");
    await page.reload();
    await state(page, "held");
    await reads(page, "hold-left", /^1:5\d$/);
    await server.admin("POST", `/bookings/${await text(page, "booking-id")}/confirm`);
    await state(page, "booked");
    await gone(page, "hold-left");
  });

  scene("a hold that nobody pays for ends, and its seats are free again", async (cast) => {
    const sale = await server.sale({ hold_ttl_s: 20 });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    const other = await cast.visitor(sale);
    await state(other, "granted");
    await page.locator(seat("A-1-1")).click();
    await book(page);
    await state(page, "held");
    await looks(other, "A-1-1", "taken");
    await state(page, "released");
    await looks(other, "A-1-1", "free");
    assert.match(await page.innerText("main"), /not yours any more/);
    assert.equal((await server.bookings(sale))[0].status, "released");
    await click(page, "again");
    await state(page, "granted");
  });

  scene("a booking that the shop cancels is released on the page", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.locator(seat("A-2-2")).click();
    await book(page);
    await state(page, "booked");
    await server.admin("DELETE", `/bookings/${await text(page, "booking-id")}`);
    await state(page, "released");
  });

  scene("the last seats go to another during the turn", async (cast) => {
    const sale = await server.sale({ plan: hall(1, 2) });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.locator("circle.seat").first().waitFor();
    const rival = await cast.rival(sale);
    await rival.book(2);
    await looks(page, "A-1-2", "taken");
    await page.waitForSelector('body[data-phase="sold_out"]', { state: "attached" });
    await click(page, "mode-best");
    await page.locator(hook("best-together")).uncheck();
    await book(page, "redeem-best");
    await reads(page, "refusal", /no free seat left that fits/);
    assert.equal(await page.locator(hook("refusal")).getAttribute("data-reason"), "sold_out");
  });

  scene("a turn that is not used ends, and says so", async (cast) => {
    const sale = await server.sale({ grant_ttl_s: 15, claim_s: 12 });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await reads(page, "turn-left", /^0:(0\d|1[0-5])$/);
    await state(page, "lapsed");
    assert.equal(await page.getAttribute("body", "data-lapsed"), "expired");
    await click(page, "rejoin");
    await state(page, "granted");
    await click(page, "leave");
    await click(page, "ask-yes");
    await page.waitForSelector('body[data-lapsed="left"]');
  });

  scene("a phone: tap to come closer, tap a seat, book", async (cast) => {
    const sale = await server.sale({ plan: REAL_HALL });
    const page = await cast.visitor(sale, { ...PHONE, lang: "ko-KR" });
    await state(page, "granted");
    await page.locator(seat("D-14-1")).waitFor();
    await fits(page);
    await page.locator(seat("D-14-1")).tap(); // Too small for a finger: this only comes closer.
    await gone(page, "picked-count");
    await until("seats a finger can hit", async () => (await page.locator(seat("D-14-1")).boundingBox()).width > 15);
    await page.locator(seat("D-14-1")).tap();
    await reads(page, "picked-count", "4석 중 1석 선택");
    await fits(page);
    await page.locator(hook("redeem")).tap();
    await page.locator(hook("review")).waitFor();
    await fits(page);
    await page.locator(hook("ask-yes")).tap();
    await state(page, "booked");
    await fits(page);
    assert.deepEqual(await bookedSeats(page), ["D-14-1"]);
  });

  scene("the keyboard alone is enough", async (cast) => {
    const sale = await server.sale({ plan: REAL_HALL });
    const page = await cast.visitor(sale);
    await state(page, "granted");
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("data-seat"));
    await page.locator("circle.seat").first().waitFor();
    for (let i = 0; i < 20 && !(await focused()); i++) await page.keyboard.press("Tab");
    const first = await focused();
    assert.ok(first, "the map can be reached with Tab");
    await page.keyboard.press("Space");
    await page.keyboard.press("ArrowRight");
    const second = await focused();
    assert.notEqual(second, first);
    await page.keyboard.press("Enter");
    await reads(page, "picked-count", "2 of 4 selected");
    await page.locator(hook("redeem")).press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.dataset.test), "ask-no", "a second Enter books nothing");
    await page.locator(hook("ask-yes")).press("Enter");
    await state(page, "booked");
    assert.deepEqual((await bookedSeats(page)).sort(), [first, second].sort());
  });

  scene("a sale for the shop's customers: identity, its place on two devices, its limit", async (cast) => {
    const sale = await server.sale({ anonymous: false, max_seats: 1, phase: "paused" });
    const stranger = await cast.visitor(sale);
    await state(stranger, "identity");
    assert.match(await stranger.innerText("main"), /We need to know who you are/);

    const link = `#identity=${identity("kim", sale)}`;
    const page = await cast.tab(await cast.context(), sale, link);
    await ranked(page, 0);
    assert.equal(new URL(page.url()).hash, "", "the identity does not stay in the address");
    const phone = await cast.tab(await cast.context(PHONE), sale, link);
    await ranked(phone, 0);
    await state(page, "replaced");
    await server.set(sale, { phase: "open" });
    await state(phone, "granted");
    await click(phone, "mode-best");
    await book(phone, "redeem-best");
    await state(phone, "booked");
    await gone(phone, "again");
    await click(page, "use-here");
    await state(page, "booked");
    await state(phone, "replaced");
  });

  scene("nobody's place is given up for a link of somebody else, unless he says so", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    await server.rivals(sale, 1);
    const context = await cast.context();
    const page = await cast.tab(context, sale);
    await ranked(page, 1);
    await page.close();
    // Whoever sends it is a customer of the shop, too.
    const link = `#identity=${identity("mallory", sale)}`;
    const sent = await cast.tab(context, sale, link);
    await state(sent, "other");
    assert.match(await sent.innerText("main"), /for another account, or is no longer valid/);
    await click(sent, "keep-place");
    await ranked(sent, 1);
    assert.equal(new URL(sent.url()).hash, "");
    await sent.close();
    // A link that is nobody's ends with the place that there is, whatever is said.
    const spoilt = await cast.tab(context, sale, "#identity=e30.e30.e30");
    await state(spoilt, "other");
    await click(spoilt, "use-link");
    await ranked(spoilt, 1);
    await spoilt.close();
    const meant = await cast.tab(context, sale, link);
    await state(meant, "other");
    await click(meant, "use-link");
    await ranked(meant, 2);
  });

  scene("a visitor whom the operator removes reads so, with a socket and without", async (cast) => {
    const sale = await server.sale({ anonymous: false, phase: "paused" });
    const page = await cast.tab(await cast.context(), sale, `#identity=${identity("kim", sale)}`);
    await ranked(page, 0);
    // Chromium reports an answer of 403.
    const context = await cast.context({ ...PHONE, allow: /status of 403/ });
    await context.addInitScript(() => { delete window.WebSocket; });
    const phone = await cast.tab(context, sale, `#identity=${identity("lee", sale)}`);
    await ranked(phone, 1);
    for (const [name, tab] of [["kim", page], ["lee", phone]]) {
      await server.admin("DELETE", `/sales/${sale}/visitors/${name}?ban=${name === "kim"}`);
      await state(tab, "removed");
      assert.match(await tab.innerText("main"), /The organiser has ended your place/);
    }
  });
});
