// Two people in browsers among 498 simulated visitors, in one sale of the real hall, to its end.
import assert from "node:assert/strict";
import { join } from "node:path";

import { REAL_HALL, run, until } from "./harness.mjs";
import { book, click, hook, stage, state } from "./stage.mjs";

const CROWD = 498;
const { server, scene } = stage();

scene("two tabs and a crowd of 498 share one sale until it is sold out", async (cast) => {
  // 500 visitors who want one to six seats each: the 1,222 seats are not enough for all.
  // Few at first, so that a slow machine's pages find seats left; all that the hall can take once they have theirs.
  const sale = await server.sale({ plan: REAL_HALL, phase: "scheduled", rate: 3, max_active: 100, max_seats: 6 });
  const [early, late] = [await cast.visitor(sale, { lang: "ko-KR" }), await cast.visitor(sale)];
  await state(early, "waiting");
  const crowd = run("load", "--url", server.url, "--sale", sale, "--visitors", String(CROWD), "--ramp", "2s", "--seats", "1..6",
    "--wish", "mixed", "--think", "0s..1s", "--vanish", "0.1", "--timeout", "180s", "--quiet",
    "--admin", server.adminUrl, "--admin-token-file", join(server.folder, "admin-token"));
  await until("the crowd", async () => (await server.show(sale)).waiting === CROWD + 2);
  await server.set(sale, { phase: "open" });

  await state(early, "granted");
  await early.locator("circle.seat.free").first().waitFor();
  await state(late, "granted");
  await click(late, "mode-best");
  await book(late, "redeem-best");
  await bookOnMap(early);
  await state(early, "booked");
  await state(late, "booked");
  await server.set(sale, { rate: 100 });

  const { code, said } = await crowd;
  assert.equal(code, 0, said);
  const { phase, seats_left, booked } = await server.show(sale);
  assert.deepEqual([phase, seats_left], ["sold_out", 0], said);

  const bookings = await server.bookings(sale);
  const seats = bookings.flatMap((booking) => booking.seats);
  assert.deepEqual([seats.length, new Set(seats).size], [1222, 1222], "every seat once");
  assert.equal(bookings.length, booked);
  for (const page of [early, late]) {
    const id = await page.locator(hook("booking-id")).innerText();
    const shown = await page.locator(`${hook("booked-seats")} li`).evaluateAll((items) => items.map((item) => item.dataset.seat));
    assert.deepEqual(bookings.find(({ booking }) => booking === id)?.seats, shown);
    await page.waitForSelector('body[data-phase="sold_out"]', { state: "attached" });
  }
});

/** Picks until it works: in this crush another is often faster. */
async function bookOnMap(page) {
  await until("a booking", async () => {
    if ((await page.getAttribute("body", "data-state")) === "booked") return true;
    const free = page.locator("circle.seat.free");
    const count = await free.count();
    if (count > 0) await free.nth(Math.floor(Math.random() * count)).click({ timeout: 5_000 }).catch(() => {});
    await page.locator(hook("redeem")).click({ timeout: 5_000 }).catch(() => {});
    await page.locator(hook("ask-yes")).click({ timeout: 5_000 }).catch(() => {});
    return false;
  });
}
