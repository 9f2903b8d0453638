// A PostgreSQL that falls silent: who waits and whose turn it is are told, and told when it is over. Alone in its file: it takes
// the bookings from everybody.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe } from "node:test";

import { book, click, gone, hook, reads, seat, stage, state } from "./stage.mjs";

const { server, scene } = stage();

/** PostgreSQL's processes: all named so that came from the server. */
function postgres() {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const [, word, parent] = /\((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, "utf8"));
      return [{ pid: Number(name), word, parent: Number(parent) }];
    } catch {
      return []; // It has just ended.
    }
  });
  const ours = new Set([server.child.pid]);
  for (let known = 0; known < ours.size;) {
    known = ours.size;
    for (const { pid, parent } of all) if (ours.has(parent)) ours.add(pid);
  }
  const found = all.filter(({ pid, word }) => ours.has(pid) && word.startsWith("postgres")).map(({ pid }) => pid);
  assert.ok(found.length > 1, "PostgreSQL runs");
  return found;
}

function signal(pids, name) {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // A connection that has ended meanwhile.
    }
  }
}

describe("an outage", () => {
  scene("is said to who waits, to who may book, and to who comes, in both languages, and taken back", async (cast) => {
    const sale = await server.sale({ max_active: 1, grant_ttl_s: 600 });
    const buyer = await cast.visitor(sale);
    await state(buyer, "granted");
    await buyer.locator(seat("A-1-1")).click();
    const waiting = await cast.visitor(sale, { lang: "ko-KR" });
    await state(waiting, "waiting");
    await gone(waiting, "outage");
    const pids = postgres();
    signal(pids, "SIGSTOP");
    try {
      await reads(waiting, "outage", /아무도 입장하지 못합니다/);
      await click(waiting, "language");
      await reads(waiting, "outage", /^Part of the service does not answer just now\. Nobody is let in until it does\. Your place is kept/);
      await reads(waiting, "link", "Interrupted");
      await reads(waiting, "eta-reason", "The line stands still, so nobody can say.");
      assert.doesNotMatch(await waiting.innerText("body"), /You are next/);
      await reads(buyer, "outage", /^Nothing can be booked just now.* an interruption of more than 5 seconds is added to your time\.$/);
      await buyer.locator(`${hook("redeem")}[aria-disabled="true"]`).waitFor();
      const left = await buyer.locator(hook("turn-left")).innerText();
      const newcomer = await cast.visitor(sale);
      await reads(newcomer, "outage", /^Part of the service does not answer/);
      assert.equal(await buyer.locator(hook("turn-left")).innerText(), left, "the time stands still");
    } finally {
      signal(pids, "SIGCONT");
    }
    for (const page of [buyer, waiting]) {
      await gone(page, "outage");
      await reads(page, "link", "Live");
    }
    await reads(waiting, "rank", "You are next");
    await book(buyer);
    await state(buyer, "booked");
    await state(waiting, "granted");
  });

  scene("is said where polls stand in for the socket", async (cast) => {
    const sale = await server.sale();
    const context = await cast.context();
    await context.addInitScript(() => { delete window.WebSocket; });
    const page = await cast.tab(context, sale);
    await state(page, "granted");
    const pids = postgres();
    signal(pids, "SIGSTOP");
    try {
      await reads(page, "outage", /^Nothing can be booked just now/);
    } finally {
      signal(pids, "SIGCONT");
    }
    await gone(page, "outage");
  });
});
