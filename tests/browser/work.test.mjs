// A turn's work is not lost: not by a reload, by a slip of the finger, or by going away.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { click, gone, hook, reads, seat, stage, state } from "./stage.mjs";

const { server, scene } = stage();

const asked = (page) => page.locator(`${hook("review")} li`).allInnerTexts();

/** Collects what the browser asks before it leaves the page, and answers. */
function answerLeaving(page, go) {
  const asked = [];
  page.on("dialog", async (dialog) => {
    asked.push(dialog.type());
    await (go() ? dialog.accept() : dialog.dismiss());
  });
  return asked;
}

describe("a turn's work", { concurrency: 3 }, () => {
  scene("picks survive a reload, but not a turn that was given up", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale, { allow: /ERR_FAILED/ });
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await page.locator(seat("A-1-2")).click();
    await page.locator(seat("A-1-3")).click();
    const context = page.context();
    await context.route("**/plan", (route) => route.abort()); // What another takes meanwhile is found out with the plan.
    page.on("dialog", (dialog) => dialog.accept());
    await page.reload();
    await state(page, "granted");
    await (await cast.rival(sale)).book(["A-1-3"]);
    await context.unroute("**/plan");
    await page.locator(`${seat("A-1-2")}.picked`).waitFor();
    await reads(page, "picked-count", "2 of 4 selected");
    await reads(page, "picked-lost", /^Just taken by someone else: A, row 1, seat 3\.$/);
    await click(page, "leave");
    await click(page, "ask-yes");
    await page.waitForSelector('body[data-lapsed="left"]');
    await click(page, "rejoin");
    await state(page, "granted");
    await page.locator(`${seat("A-1-2")}.free`).waitFor();
    await gone(page, "picked-count");
  });

  scene("on a phone a refusal is in sight, wherever the visitor has scrolled", async (cast) => {
    const page = await cast.visitor(await server.sale());
    await state(page, "granted");
    await page.setViewportSize({ width: 320, height: 568 });
    for (const guid of ["A-1-1", "A-1-2", "A-1-3", "A-1-4"]) await page.locator(seat(guid)).dispatchEvent("click");
    await reads(page, "picked-count", "4 of 4 selected");
    await page.locator(seat("A-4-2")).evaluate((fifth) => fifth.scrollIntoView({ block: "start" }));
    await page.locator(seat("A-4-2")).dispatchEvent("click");
    await reads(page, "refusal", /all 4 seats of this turn/);
    await page.waitForFunction((refusal) => {
      const { left, right, top, bottom } = document.querySelector(refusal).getBoundingClientRect();
      const seen = (y) => document.elementFromPoint((left + right) / 2, y)?.closest(refusal);
      return seen(top + 2) && seen(bottom - 2);
    }, hook("refusal"));
    await reads(page, "picked-count", "4 of 4 selected");
  });

  scene("nothing is booked before it was looked at once more", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale);
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await page.locator(seat("A-4-2")).click();
    await click(page, "redeem");
    assert.deepEqual(await asked(page), ["A, row 1, seat 1 · VIP", "A, row 4, seat 2 · Standard"]);
    await click(page, "ask-no");
    await reads(page, "picked-count", "2 of 4 selected");
    await click(page, "mode-best");
    await click(page, "redeem-best");
    assert.deepEqual(await asked(page), ["2 seats", "Any category", "Side by side only"]);
    await page.keyboard.press("Escape");
    await click(page, "mode-pick");
    await click(page, "redeem");
    await (await cast.rival(sale)).book(["A-4-2"]); // Then the question is another.
    await gone(page, "review");
    await reads(page, "picked-count", "1 of 4 selected");
    assert.equal((await server.bookings(sale)).length, 1, "the rival's");
    await click(page, "redeem");
    assert.deepEqual(await asked(page), ["A, row 1, seat 1 · VIP"]);
    await click(page, "ask-yes");
    await state(page, "booked");
  });

  scene("a question ends with its turn", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale, { allow: /places\/me/ });
    await state(page, "granted");
    await page.locator(seat("A-1-1")).click();
    await click(page, "redeem");
    await page.locator(hook("review")).waitFor();
    await server.set(sale, { phase: "closed" });
    await state(page, "closed");
    await gone(page, "review");
  });

  scene("a turn goes along to another tab and another language as it is", async (cast) => {
    const sale = await server.sale();
    const context = await cast.context();
    const first = await cast.tab(context, sale);
    await state(first, "granted");
    await first.locator(seat("A-1-1")).click();
    await first.locator(seat("A-4-2")).click();
    await reads(first, "picked-count", "2 of 4 selected");
    const second = await cast.tab(context, sale);
    await state(second, "elsewhere");
    await click(second, "use-here");
    await reads(second, "picked-count", "2 of 4 selected");
    await state(first, "replaced");
    const leaving = answerLeaving(first, () => true);
    await first.reload();
    await state(first, "elsewhere");
    assert.deepEqual(leaving, [], "it has nothing to lose any more");
    await click(second, "mode-best");
    await click(second, "best-more");
    await second.locator(hook("best-category")).selectOption("VIP");
    await second.locator(hook("best-together")).uncheck();
    await click(second, "language");
    await reads(second, "best-count", "3");
    assert.equal(await second.locator(hook("best-category")).inputValue(), "VIP");
    await click(second, "language");
    second.on("dialog", (dialog) => dialog.accept());
    await second.reload();
    await reads(second, "best-count", "3");
    assert.equal(await second.locator(hook("best-together")).isChecked(), false);
    await click(second, "mode-pick");
    await reads(second, "picked-count", "2 of 4 selected");
    await click(second, "zoom-in");
    const width = () => second.locator(hook("seat-map")).evaluate((map) => map.style.width);
    const zoomed = await width();
    await click(second, "language");
    assert.equal(await width(), zoomed);
  });

  scene("going away with seats chosen is asked for, and only then", async (cast) => {
    const sale = await server.sale();
    const page = await cast.visitor(sale);
    let go = true;
    const questions = answerLeaving(page, () => go);
    await state(page, "granted");
    await page.locator(`${seat("A-1-1")}.free`).click();
    await page.locator(seat("A-1-1")).click();
    await page.reload();
    assert.deepEqual(questions, []);
    await page.locator(`${seat("A-1-1")}.free`).click();
    await reads(page, "picked-count", "1 of 4 selected");
    go = false;
    await page.locator(".foot a").click({ noWaitAfter: true });
    await page.waitForFunction(() => document.querySelector(".foot a") !== null);
    assert.deepEqual(questions, ["beforeunload"]);
    await state(page, "granted");
    go = true;
    await page.locator(".foot a").click();
    await page.waitForURL(server.url + "/");
    assert.deepEqual(questions, ["beforeunload", "beforeunload"]);
  });
});
