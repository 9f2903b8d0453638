// The pages: a real Chromium, the visitors of a test, and what a test asks of a page.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { Server, WAIT_MS, until } from "./harness.mjs";

export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
// The one without windows first: the same engine for half of the work.
const CHROMIUM = process.env.CHROMIUM ?? ["/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium", "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome"].find((path) => existsSync(path));
const CHROMIUM_ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let launched = null;

/** One Chromium for a test file, with a profile of its own. */
export async function browser() {
  assert.ok(CHROMIUM, "no Chromium: scripts/deps.sh test installs it, or name one in CHROMIUM");
  launched ??= chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
  return launched;
}

export async function closeBrowser() {
  // One that never came up has failed its tests; the servers must be stopped all the same.
  await (await launched?.catch(() => null))?.close();
  launched = null;
}

/** A page that is reloaded while its socket still connects: the browser says so, and nothing is wrong. */
const LEFT_EARLY = /WebSocket is closed before the connection is established/;

/** The visitors of one test; each has a browser context, so nobody shares cookies or storage. */
export class Cast {
  constructor(server) {
    this.server = server;
    this.contexts = [];
    this.rivals = [];
    this.complaints = [];
  }

  async context({ lang = "en-GB", allow = null, ...options } = {}) {
    const context = await (await browser()).newContext({ locale: lang, timezoneId: "Asia/Seoul", ...options });
    context.setDefaultTimeout(WAIT_MS);
    this.contexts.push(context);
    const note = (text) => { if (!allow?.test(text) && !LEFT_EARLY.test(text)) this.complaints.push(text); };
    context.on("console", (message) => { if (["error", "warning"].includes(message.type())) note(`${message.text()} ${message.location().url}`); });
    context.on("weberror", (error) => note(String(error.error())));
    return context;
  }

  /** A visitor of the sale: the page, in a browser of his own. */
  async visitor(sale, options = {}) {
    const context = await this.context(options);
    return this.tab(context, sale);
  }

  async tab(context, sale, hash = "") {
    const page = await context.newPage();
    await page.goto(`${this.server.url}/sales/${sale}${hash}`);
    return page;
  }

  async rival(sale) {
    const rival = await this.server.rival(sale);
    this.rivals.push(rival);
    return rival;
  }

  async line(sale, count) {
    const all = await this.server.rivals(sale, count);
    this.rivals.push(...all);
    return all;
  }

  async leave() {
    for (const rival of this.rivals) rival.close();
    await Promise.all(this.contexts.map((context) => context.close()));
  }
}

/**
 * The server of a test file, there for all its tests, and `scene`: a test with visitors, which also fails if a page
 * complained to its console (CSP included).
 */
export function stage(flags) {
  const server = new Server(flags);
  before(() => server.start());
  after(async () => {
    await closeBrowser();
    await server.stop();
  });
  return { server, scene: (name, play) => scene(name, server, play) };
}

function scene(name, server, play) {
  test(name, { timeout: 240_000 }, async () => {
    const cast = new Cast(server);
    try {
      await play(cast, cast.server);
      assert.deepEqual(cast.complaints, [], "the page complained");
    } finally {
      await cast.leave();
    }
  });
}

export const hook = (name) => `[data-test="${name}"]`;
export const seat = (guid) => `circle.seat[data-seat="${guid}"]`;

export async function state(page, word) {
  try {
    await page.waitForSelector(`body[data-state="${word}"]`, { state: "attached" });
  } catch {
    assert.equal(await page.getAttribute("body", "data-state"), word);
  }
}

export async function text(page, name) {
  return (await page.locator(hook(name)).innerText()).replace(/\s+/g, " ").trim();
}

/** Waits until the words are there; says what was there instead. */
export async function reads(page, name, wanted) {
  let seen = "";
  const fits = async () => {
    const node = page.locator(hook(name));
    seen = (await node.isVisible()) ? await text(page, name) : "(not shown)";
    return wanted instanceof RegExp ? wanted.test(seen) : seen === wanted;
  };
  await until(() => `${name} to read ${wanted}, not ${JSON.stringify(seen)}`, fits);
}

export async function gone(page, name) {
  await page.locator(hook(name)).waitFor({ state: "hidden" });
}

export async function rank(page) {
  return Number(await page.getAttribute("section.rank", "data-rank"));
}

export async function ranked(page, wanted) {
  let seen = null;
  await until(() => `rank ${wanted}, not ${seen}`, async () => (seen = await rank(page)) === wanted);
}

export async function click(page, name) {
  await page.locator(hook(name)).click();
}

/** The button to book, and yes to what it asks. */
export async function book(page, button = "redeem") {
  await click(page, button);
  await click(page, "ask-yes");
}

/** Nothing may stick out of a phone's screen. */
export async function fits(page) {
  const [inner, scroll] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
  assert.ok(scroll <= inner, `the page is ${scroll} px wide on a screen of ${inner}`);
}
