// The proof of one's place: saved while waiting, after booking and after the end; in both languages; said when it cannot be.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe } from "node:test";

import { Server } from "./harness.mjs";
import { book, click, closeBrowser, hook, reads, scenario, state } from "./stage.mjs";

let server;
before(async () => { server = await Server.start(); });
after(async () => {
  await closeBrowser();
  await server?.stop();
});
const scene = (name, play) => scenario(name, () => server, play);

/** Presses the button. → the file that is saved */
async function saved(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), click(page, "proof")]);
  return { name: download.suggestedFilename(), receipt: JSON.parse(readFileSync(await download.path(), "utf8")) };
}

describe("the proof of a place", { concurrency: 2 }, () => {
  scene("is saved while waiting, after the booking and after the end, and is always the same place's", async (cast) => {
    const sale = await server.sale({ phase: "scheduled" });
    const page = await cast.visitor(sale);
    await state(page, "waiting");
    const first = await saved(page);
    assert.deepEqual([first.receipt.sale, first.receipt.seq, first.name], [sale, 1, `waitroom-${sale}-1.json`]);
    await reads(page, "proof-said", /^Saved\. Keep the file/);
    assert.equal(await page.evaluate(() => document.activeElement.dataset.test), "proof", "the focus stays");
    await server.set(sale, { phase: "open" });
    await state(page, "granted");
    await click(page, "mode-best");
    await book(page, "redeem-best");
    await state(page, "booked");
    const second = await saved(page);
    assert.equal(second.receipt.salt, first.receipt.salt);
  });

  scene("says so in Korean, and when it cannot be had", async (cast) => {
    const sale = await server.sale({ phase: "scheduled" });
    const page = await cast.visitor(sale, { lang: "ko-KR", allow: /404|receipt/ });
    await state(page, "waiting");
    await reads(page, "proof", "내 순서 증명서 저장");
    let asked = 0;
    await page.route("**/places/me/receipt", (route) => {
      asked += 1;
      return asked === 1 ? route.fulfill({ status: 202, json: { code: "not_yet" } }) : route.fulfill({ status: 404, json: {} });
    });
    await click(page, "proof");
    await reads(page, "proof-said", /^잠시만 기다려 주세요/);
    await reads(page, "proof-said", /^지금은 증명서를 받을 수 없습니다/);
    assert.equal(asked, 2);
    assert.equal(await page.locator(hook("proof")).getAttribute("aria-disabled"), null, "it may be tried again");
  });

  scene("stays with whoever still waits when the sale is closed", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const page = await cast.visitor(sale);
    await state(page, "waiting");
    await server.set(sale, { phase: "closed" });
    await state(page, "closed");
    const { receipt } = await saved(page);
    assert.deepEqual([receipt.sale, receipt.seq], [sale, 1]);
  });
});
