// The page for those who do not see it, enlarge it, or have only a keyboard: axe-core finds nothing in any state, in
// both languages, light and dark; the focus is never lost; nothing overlaps with doubled text on the narrowest screen.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe } from "node:test";

import { hall } from "./harness.mjs";
import { GRANTED, JOINED } from "./samples.mjs";
import { book, click, hook, reads, seat, stage, state } from "./stage.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Colours that are still fading in are no colours. */
const CALM = { reducedMotion: "reduce" };
const NARROW = { width: 320, height: 640 };
const error = (code) => ({ type: "error", code, message: "" });
const phase = (word) => ({ type: "phase", phase: word });
/** What is rarely on the screen: its name, the state, what the server says for it, and how it closes the socket, if it does. */
const RARE = [
  ["removed", "removed", [error("removed")], 4403],
  ["limit", "limit", [error("limit_reached")], 4403],
  ["broken", "broken", [], 4400],
  ["cut", "waiting", [JOINED], 4503],
  ["outage", "waiting", [JOINED, { type: "outage", on: true }]],
  ["outage at the turn", "granted", [JOINED, GRANTED, { type: "outage", on: true }]],
  ["next", "waiting", [{ ...JOINED, rank: 0 }]],
  ["paused", "waiting", [JOINED, phase("paused")]],
  ["sold out", "waiting", [JOINED, phase("sold_out")]],
  ["missed", "lapsed", [JOINED, GRANTED, { type: "lapsed", reason: "missed" }]],
  ["expired", "lapsed", [JOINED, GRANTED, { type: "lapsed", reason: "expired" }]],
];
const { server, scene } = stage();

/** Everything that axe knows, its young rules too. */
async function faults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, {
    rules: { "label-content-name-mismatch": { enabled: true } }, resultTypes: ["violations"],
  }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}

async function clean(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const lang = await page.getAttribute("html", "lang");
    assert.deepEqual(await faults(page), [], `${name}, ${lang}, ${colorScheme}`);
    assert.notEqual((await page.title()).trim(), "", `${name} has a title`);
  }
}

/** Pairs of things to read or to press that lie on each other. */
async function overlaps(page) {
  return page.evaluate(() => {
    const shown = [...document.querySelectorAll("#room *")].filter((node) => !node.closest("svg, .spoken, option, select *")
      && node.checkVisibility() && (node.matches("button, a, input, select") || [...node.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim())));
    const boxes = shown.map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width > 1 && box.height > 1);
    const found = [];
    for (const [i, [a, one]] of boxes.entries()) {
      for (const [b, two] of boxes.slice(i + 1)) {
        if (a.contains(b) || b.contains(a)) continue;
        const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
        const down = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
        if (across > 2 && down > 4) found.push(`${a.outerHTML.slice(0, 80)} on ${b.outerHTML.slice(0, 80)}`);
      }
    }
    return found;
  });
}

async function spacious(page, name) {
  const size = page.viewportSize();
  const enlarge = (fontSize) => page.evaluate((fontSize) => new Promise((done) => {
    document.documentElement.style.fontSize = fontSize;
    requestAnimationFrame(() => requestAnimationFrame(done));
  }), fontSize);
  await page.setViewportSize(NARROW);
  await enlarge("200%");
  assert.deepEqual(await overlaps(page), [], name);
  const [inner, scroll] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
  assert.ok(scroll <= inner, `${name} is ${scroll} px wide on a screen of ${inner}`);
  await enlarge("");
  await page.setViewportSize(size);
}

/** Through every state; `look(page, name)` looks at each. */
async function tour(cast, options, look) {
  const visitor = (sale) => cast.visitor(sale, options);
  const list = await (await cast.context(options)).newPage();
  await list.goto(server.url);
  await state(list, "listed");
  await look(list, "list");

  const early = await visitor(await server.sale({ phase: "scheduled", opens_at: new Date(Date.now() + 3_600_000).toISOString() }));
  await state(early, "waiting");
  await look(early, "countdown");
  const full = await server.sale({ plan: hall(1, 2), max_active: 1, hold_ttl_s: 60 });
  const [holder] = await cast.line(full, 3);
  await holder.turn();
  const waiting = await visitor(full);
  await state(waiting, "waiting");
  await server.set(full, { notice: "Doors open at 7" });
  await reads(waiting, "notice", /Doors open at 7/);
  await look(waiting, "line");
  await holder.book(2);
  await waiting.locator(hook("why")).waitFor();
  await look(waiting, "all held");
  const second = await cast.tab(waiting.context(), full);
  await state(second, "elsewhere");
  await look(second, "elsewhere");
  await click(second, "use-here");
  await state(waiting, "replaced");
  await look(waiting, "replaced");
  await click(second, "leave");
  await look(second, "leaving");
  await click(second, "ask-yes");
  await state(second, "lapsed");
  await look(second, "left");
  await turn(cast, visitor, look);
  const identity = await visitor(await server.sale({ anonymous: false }));
  await state(identity, "identity");
  await look(identity, "identity");
  const other = await cast.context(options);
  const sale = await server.sale({ phase: "paused" });
  const had = await cast.tab(other, sale);
  await state(had, "waiting");
  await had.close();
  const linked = await cast.tab(other, sale, "#identity=e30.e30.e30");
  await state(linked, "other");
  await look(linked, "other");
  const unknown = await visitor("nowhere");
  await state(unknown, "unknown");
  await look(unknown, "unknown");
}

async function turn(cast, visitor, look) {
  const sale = await server.sale({ plan: hall(2, 6), hold_ttl_s: 300, claim_s: 200 });
  const page = await visitor(sale);
  await state(page, "granted");
  await (await cast.rival(sale)).book(["A-2-6"]);
  await page.locator(`${seat("A-2-6")}.taken`).waitFor();
  await look(page, "turn");
  await page.locator(seat("A-1-1")).click();
  await page.locator(seat("A-1-2")).click();
  await reads(page, "picked-count", /2/);
  await look(page, "turn with seats");
  await click(page, "redeem");
  await look(page, "review");
  await click(page, "ask-no");
  await click(page, "mode-best");
  await look(page, "best");
  await click(page, "mode-pick");
  await book(page);
  await state(page, "held");
  await look(page, "held");
  const id = await page.locator(hook("booking-id")).innerText();
  await server.admin("POST", `/bookings/${id}/confirm`);
  await state(page, "booked");
  await look(page, "booked");
  await server.admin("DELETE", `/bookings/${id}`);
  await state(page, "released");
  await look(page, "released");
  await server.set(sale, { phase: "closed" });
  const closed = await visitor(sale);
  await state(closed, "closed");
  await look(closed, "closed");
}

/** Through what a server seldom says. */
async function rare(cast, options, look) {
  const [sale, context] = await Promise.all([server.sale({ phase: "paused" }), cast.context(options)]);
  for (const [name, screen, said, code] of RARE) {
    const page = await context.newPage();
    await page.routeWebSocket(/\/ws$/, (socket) => socket.onMessage((text) => {
      if (JSON.parse(text).type !== "join") return;
      for (const message of said) socket.send(JSON.stringify(message));
      if (code) socket.close({ code });
    }));
    await page.goto(`${server.url}/sales/${sale}`);
    await state(page, screen);
    await look(page, name);
    await page.close();
  }
}

describe("for everyone", () => {
  for (const lang of ["en-GB", "ko-KR"]) {
    const look = async (page, name) => {
      await clean(page, name);
      await spacious(page, name);
    };
    scene(`in any state, ${lang}`, (cast) => tour(cast, { ...CALM, lang, allow: /40[134]|410/ }, look));
    scene(`in what is rarely seen, ${lang}`, (cast) => rare(cast, { ...CALM, lang }, look));
  }

  scene("the focus stays where one works", async (cast) => {
    const page = await cast.visitor(await server.sale(), CALM);
    const focused = (selector) => page.evaluate((wanted) => document.activeElement.matches(wanted), selector);
    await state(page, "granted");
    for (const guid of ["A-1-1", "A-1-2", "A-1-3"]) await page.locator(seat(guid)).click();
    await reads(page, "picked-count", "3 of 4 selected");
    await page.locator(`${hook("picked")} [data-seat="A-1-3"] button`).press("Enter");
    assert.ok(await focused('[data-seat="A-1-2"] button'), "on the one before");
    await page.locator(`${hook("picked")} [data-seat="A-1-1"] button`).press("Enter");
    assert.ok(await focused('[data-seat="A-1-2"] button'), "on the next");
    await page.keyboard.press("Enter");
    assert.ok(await focused(".pick"), "and after the last in the panel");
    await click(page, "mode-best");
    await page.locator(hook("best-less")).press("Enter");
    await reads(page, "best-count", "1");
    assert.ok(await focused(hook("best-less")), "though it does nothing more");
    await page.locator(hook("language")).press("Enter");
    assert.ok(await focused(hook("language")));
  });

  scene("the list of sales keeps the focus as it changes", async (cast) => {
    const page = await (await cast.context(CALM)).newPage();
    await page.route("**/v1/sales", async (route) => {
      const answer = await route.fetch();
      const { sales } = await answer.json();
      await route.fulfill({ json: { sales: sales.map((sale) => ({ ...sale, waiting: Date.now() })) } });
    });
    await server.sale();
    await page.clock.install();
    await page.goto(`${server.url}/`);
    await page.locator(hook("language")).focus();
    const before = await page.innerText("main");
    await page.clock.runFor(11_000);
    await page.waitForFunction((text) => document.querySelector("main").innerText !== text, before);
    assert.ok(await page.evaluate((wanted) => document.activeElement.matches(wanted), hook("language")));
  });

  scene("the page follows the size of text that the browser is set to", async (cast) => {
    const page = await cast.visitor(await server.sale({ phase: "paused" }), CALM);
    await state(page, "waiting");
    const size = () => page.evaluate(() => ["body", ".screen-title", ".keeps", ".foot"].map((name) => parseFloat(getComputedStyle(document.querySelector(name)).fontSize)));
    const before = await size();
    await page.evaluate(() => { document.documentElement.style.fontSize = "200%"; });
    assert.deepEqual(await size(), before.map((px) => px * 2));
  });
});
