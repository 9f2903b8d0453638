// Work before a place: done beside the page, with words meanwhile, whichever way the page comes.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { click, hook, ranked, stage } from "./stage.mjs";

const BITS = 12;
const { server, scene } = stage([`--proof-of-work=${BITS}`]);

/** As the server looks at it. */
function zeroBits(proof) {
  const [challenge, number] = [proof.slice(0, proof.lastIndexOf(".")), proof.slice(proof.lastIndexOf(".") + 1)];
  const eight = Buffer.alloc(8);
  eight.writeBigUInt64BE(BigInt(number));
  const hash = createHash("sha256").update(createHash("sha256").update(challenge).digest()).update(eight).digest();
  return Math.clz32(hash.readUInt32BE(0));
}

describe("work before a place", { concurrency: 2 }, () => {
  test("the page's hash is SHA-256", () => {
    const self = { postMessage: (proof) => { self.proof = proof; } };
    new Function("self", readFileSync(new URL("../../static/work.js", import.meta.url), "utf8"))(self);
    // Lengths around a block's end, and the longest challenge that there is.
    for (const challenge of ["k1.abc.def", "x".repeat(55), "y".repeat(56), "z".repeat(64), `k1.${"a".repeat(300)}`]) {
      for (const bits of [1, 9, 14]) {
        self.onmessage({ data: { challenge, bits } });
        assert.ok(self.proof.startsWith(`${challenge}.`));
        assert.ok(zeroBits(self.proof) >= bits, self.proof);
      }
    }
  });

  scene("the page says what it does, in either language, and joins once it has done it", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context();
    let release;
    const released = new Promise((resolve) => { release = resolve; });
    await context.route("**/work.js", (route) => released.then(() => route.continue()));
    const page = await cast.tab(context, sale);
    const words = page.locator(hook("loading-text"));
    await page.waitForFunction(() => /small sum/.test(document.querySelector("main").textContent));
    assert.equal(await words.getAttribute("role"), "status");
    assert.equal((await server.show(sale)).waiting, 0);
    await click(page, "language");
    await page.waitForFunction(() => /간단한 계산/.test(document.querySelector("main").textContent));
    release();
    await ranked(page, 0);
    assert.equal((await server.show(sale)).waiting, 1);
    // The place is proof enough from then on.
    await page.reload();
    await ranked(page, 0);
    assert.equal((await server.show(sale)).waiting, 1);
  });

  scene("without a socket too", async (cast) => {
    const sale = await server.sale({ phase: "paused" });
    const context = await cast.context({ allow: /401|WebSocket/ });
    await context.addInitScript(() => { window.WebSocket = class { constructor() { throw new Error("blocked"); } }; });
    const page = await cast.tab(context, sale);
    await ranked(page, 0);
    assert.equal((await server.show(sale)).waiting, 1);
  });
});
