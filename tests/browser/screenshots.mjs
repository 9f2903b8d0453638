// Pictures of every state, in both languages, on a phone and a desk: `npm run screenshots`.
// The four that the README shows go to docs/images/, all of them to screenshots/ beside this file.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { hall, pause, REAL_HALL, Server } from "./harness.mjs";
import { book, Cast, click, closeBrowser, hook, PHONE, ranked, seat, state } from "./stage.mjs";

const ALL = fileURLToPath(new URL("screenshots", import.meta.url));
const README = fileURLToPath(new URL("../../docs/images", import.meta.url));
const DESK = { viewport: { width: 1280, height: 860 } };
const KEPT = new Map([["line.ko.phone", "line.png"], ["turn.ko.desk", "turn.png"], ["booked.ko.phone", "booked.png"], ["line.en.phone", "line.en.png"]]);

mkdirSync(ALL, { recursive: true });
mkdirSync(README, { recursive: true });
const server = new Server();
await server.start();

for (const [lang, locale] of [["ko", "ko-KR"], ["en", "en-GB"]]) {
  for (const [kind, device] of [["phone", { ...PHONE, deviceScaleFactor: 2 }], ["desk", DESK]]) {
    await tour(lang, kind, { lang: locale, ...device });
  }
}
await tour("ko", "dark", { lang: "ko-KR", ...PHONE, colorScheme: "dark" });
await closeBrowser();
await server.stop();

async function tour(lang, kind, options) {
  const cast = new Cast(server);
  const shot = async (page, name) => {
    const full = `${name}.${lang}.${kind}`;
    await pause(700); // Fades and fonts.
    await page.screenshot({ path: join(ALL, `${full}.png`) });
    if (KEPT.has(full)) await page.screenshot({ path: join(README, KEPT.get(full)), scale: "css" });
  };
  const sale = (settings) => server.sale({ plan: REAL_HALL, name: lang === "ko" ? "가을밤 콘서트" : "Autumn Night Concert", ...settings });
  const visitor = (id) => cast.visitor(id, options);

  const list = await (await cast.context(options)).newPage();
  await list.goto(server.url);
  await state(list, "listed");
  await shot(list, "list");

  const soon = await sale({ phase: "scheduled", opens_at: new Date(Date.now() + 754_000).toISOString() });
  await cast.line(soon, 12);
  const early = await visitor(soon);
  await ranked(early, 12);
  await shot(early, "countdown");

  // A line that moves long enough for an honest estimate.
  const moving = await sale({ rate: 3, max_active: 100, phase: "scheduled" });
  const ahead = await cast.line(moving, 150);
  const waiting = await visitor(moving);
  await ranked(waiting, 150);
  await cast.line(moving, 40);
  await server.set(moving, { phase: "open" });
  for (const rival of ahead.slice(0, 60)) {
    await rival.turn();
    rival.book(1);
  }
  await shot(waiting, "line");
  await server.set(moving, { notice: lang === "ko" ? "공연 시작 시각이 19:30으로 바뀌었습니다." : "The concert now starts at 19:30." });
  await server.set(moving, { phase: "paused" });
  await pause(300);
  await shot(waiting, "paused");
  await click(waiting, "leave");
  await shot(waiting, "leave");
  await click(waiting, "ask-yes");
  await state(waiting, "lapsed");
  await shot(waiting, "left");

  const open = await sale({ rate: 1_000, max_active: 500, hold_ttl_s: 420, claim_s: 3 });
  await Promise.all((await cast.line(open, 60)).map((rival) => rival.book(4)));
  const buyer = await visitor(open);
  await buyer.locator("circle.seat").first().waitFor();
  const zone = REAL_HALL.zones.find(({ name }) => name === "Block B") ?? REAL_HALL.zones[0];
  const free = await buyer.locator("circle.seat.free").evaluateAll((all) => all.map((node) => node.dataset.seat));
  const picks = zone.rows.flatMap(({ seats }) => seats.map(({ seat_guid }) => seat_guid)).filter((guid) => free.includes(guid)).slice(30, 32);
  if (kind === "desk") {
    for (const pick of picks) await buyer.locator(seat(pick)).click();
    await shot(buyer, "turn");
  } else {
    await shot(buyer, "turn-whole");
    await buyer.locator(seat(picks[0])).tap();
    for (const pick of picks) await buyer.locator(seat(pick)).tap();
    await shot(buyer, "turn");
  }
  await buyer.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await shot(buyer, "turn-end");
  await click(buyer, "mode-best");
  await shot(buyer, "best");
  await buyer.locator(hook("best-category")).selectOption("VIP").catch(() => {});
  await click(buyer, "mode-pick");
  await book(buyer);
  await state(buyer, "held");
  await shot(buyer, "held");
  await server.admin("POST", `/bookings/${await buyer.locator(hook("booking-id")).innerText()}/confirm`);
  await state(buyer, "booked");
  await shot(buyer, "booked");
  await server.admin("DELETE", `/bookings/${await buyer.locator(hook("booking-id")).innerText()}`);
  await state(buyer, "released");
  await shot(buyer, "released");

  const tight = await sale({ plan: hall(2, 2), max_active: 3 });
  const racer = await visitor(tight);
  await state(racer, "granted");
  await racer.locator("circle.seat").first().waitFor();
  await (await cast.rival(tight)).book(3);
  await click(racer, "mode-best");
  await book(racer, "redeem-best");
  await racer.locator(hook("refusal")).waitFor();
  await shot(racer, "refused");
  const next = await visitor(tight);
  await state(next, "waiting");
  await shot(next, "next");
  const second = await cast.tab(next.context(), tight);
  await state(second, "elsewhere");
  await shot(second, "elsewhere");
  await click(second, "use-here");
  await state(next, "replaced");
  await shot(next, "replaced");
  await (await cast.rival(tight)).leave();
  await click(racer, "best-less");
  await book(racer, "redeem-best");
  await state(racer, "booked");
  await second.waitForSelector('body[data-phase="sold_out"]', { state: "attached" });
  await shot(second, "sold-out");
  await server.set(tight, { phase: "closed" });
  await state(second, "closed");
  await shot(second, "closed");

  const missed = await cast.context(options);
  await missed.addInitScript(() => Object.defineProperty(document, "visibilityState", { get: () => "hidden" }));
  const sleeper = await cast.tab(missed, open);
  await state(sleeper, "granted");
  await shot(sleeper, "claim");
  await state(sleeper, "lapsed");
  await shot(sleeper, "missed");
  const locked = await visitor(await sale({ anonymous: false }));
  await state(locked, "identity");
  await shot(locked, "identity");
  const waits = await sale({ phase: "paused" });
  const had = await cast.context(options);
  await state(await cast.tab(had, waits), "waiting");
  for (const tab of had.pages()) await tab.close();
  const linked = await cast.tab(had, waits, "#identity=e30.e30.e30");
  await state(linked, "other");
  await shot(linked, "other");
  const wrong = await visitor(`${open}-x`);
  await state(wrong, "unknown");
  await shot(wrong, "unknown");
  await cast.leave();
}
