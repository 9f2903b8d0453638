// The page's other pure parts, without a browser.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { describe, test } from "node:test";

import { applyChanges, decodeTaken } from "../../static/bitmap.mjs";
import { countdown, etaRange, serverClock, serverTime, spokenSeconds } from "../../static/clock.mjs";
import { chooseLanguage } from "../../static/i18n.mjs";
import { legible, neighbour, readPlan } from "../../static/plan.mjs";
import { openStore } from "../../static/store.mjs";
import { Tabs } from "../../static/tabs.mjs";
import { en } from "../../static/words-en.mjs";
import { ko } from "../../static/words-ko.mjs";
import { PLAN } from "./samples.mjs";

describe("bitmap", () => {
  test("bit i, least significant first, is seat i", () => {
    const taken = decodeTaken(Buffer.from([0b00000101, 0b10000000]).toString("base64"));
    assert.deepEqual([...taken.keys()].filter((i) => taken[i]), [0, 2, 15]);
  });

  test("changes apply to a copy and stay inside", () => {
    const before = decodeTaken("AQ==");
    const after = applyChanges(before, [3, 99], [0]);
    assert.deepEqual([...after], [0, 0, 0, 1, 0, 0, 0, 0]);
    assert.equal(before[0], 1);
  });
});

describe("plan", () => {
  test("the real hall: seats in plan order, positions added up", () => {
    const raw = JSON.parse(readFileSync(new URL("../../data/seating-plan-riethsporthalle.json", import.meta.url)));
    const plan = readPlan(raw);
    assert.equal(plan.seats.length, 1222);
    const zone = raw.zones[1];
    const seat = zone.rows[2].seats[3];
    const read = plan.byGuid.get(seat.seat_guid);
    assert.equal(read.x, zone.position.x + zone.rows[2].position.x + seat.position.x);
    assert.equal(plan.seats[read.index], read);
    assert.equal(plan.pitch, 25);
  });

  test("a plan without positions becomes a grid in which no two seats meet", () => {
    const rows = [...Array(20)].map((_, r) => ({ row_number: String(r), seats: [...Array(50)].map((__, s) => ({ seat_guid: `${r}-${s}` })) }));
    const plan = readPlan({ zones: [1, 2, 3, 4].map((z) => ({ name: `Z${z}`, rows: rows.map((row) => ({ ...row, seats: row.seats.map((seat) => ({ seat_guid: `${z}-${seat.seat_guid}` })) })) })) });
    assert.equal(plan.seats.length, 4000);
    assert.equal(new Set(plan.seats.map(({ x, y }) => `${x},${y}`)).size, 4000);
  });

  test("everything at 0,0 counts as not drawn", () => {
    const position = { x: 0, y: 0 };
    const plan = readPlan({ zones: [{ name: "", position, rows: [{ row_number: "1", position, seats: [{ seat_guid: "a", position }, { seat_guid: "b", position }] }] }] });
    assert.notEqual(plan.seats[0].x, plan.seats[1].x);
  });

  test("arrows find the neighbour and stop at the edge", () => {
    assert.equal(neighbour(PLAN.seats, PLAN.seats[1], 1, 0).guid, "A-1-2");
    assert.equal(neighbour(PLAN.seats, PLAN.seats[3], 1, 0), null);
  });

  test("colours become legible on either ground", () => {
    assert.equal(legible("#8E44AD", "#ffffff"), "rgb(142, 68, 173)");
    assert.notEqual(legible("#1D3557", "#15181c"), "rgb(29, 53, 87)");
    assert.notEqual(legible("#ffffff", "#ffffff"), "rgb(255, 255, 255)");
  });
});

describe("clock", () => {
  test("an estimate is rounded outwards, never to promise more", () => {
    assert.deepEqual(etaRange([5, 59]), { unit: "moment" });
    assert.deepEqual(etaRange([119, 181]), { unit: "minutes", low: 1, high: 4 });
    assert.deepEqual(etaRange([3600, 10_000]), { unit: "hours", low: 1, high: 3 });
  });

  test("countdowns", () => {
    assert.equal(countdown(65_000), "1:05");
    assert.equal(countdown(1), "0:01");
    assert.equal(countdown(-5), "0:00");
    assert.equal(countdown(3_661_000), "1:01:01");
  });

  test("the server's clock runs on the monotonic one", () => {
    const clock = serverClock("2026-11-22T10:00:00Z", 1_000);
    assert.equal(serverTime(clock, 3_500), Date.parse("2026-11-22T10:00:02.500Z"));
    assert.equal(serverClock("nonsense", 0), null);
  });

  test("time left is spoken at a few marks only", () => {
    assert.equal(spokenSeconds(60_100, 59_900), 60);
    assert.equal(spokenSeconds(59_900, 59_700), null);
  });

  test("what is spoken is the time that is left, however many marks were slept past", () => {
    assert.equal(spokenSeconds(Infinity, 39_000), 39);
    assert.equal(spokenSeconds(290_000, 38_600), 39);
    assert.equal(spokenSeconds(5_000, -10), null);
    const said = (seconds) => [en, ko].map((words) => words.spoken_left({ seconds }));
    assert.deepEqual(said(39), ["39 seconds left", "39초 남았습니다"]);
    assert.deepEqual(said(61), ["1 minute 1 second left", "1분 1초 남았습니다"]);
    assert.deepEqual(said(300), ["5 minutes left", "5분 남았습니다"]);
  });
});

describe("tabs", () => {
  const hall = () => {
    const channels = [];
    return () => {
      const channel = { onmessage: null, postMessage: (data) => queueMicrotask(() => channels.filter((other) => other !== channel).forEach((other) => other.onmessage?.({ data }))) };
      channels.push(channel);
      return channel;
    };
  };
  const tab = (makeChannel, born) => new Tabs("s", { makeChannel, born });

  test("the holder answers, an empty browser does not", async () => {
    const makeChannel = hall();
    const first = tab(makeChannel, 1);
    assert.equal(await first.takenElsewhere(), false);
    first.hold();
    assert.equal(await tab(makeChannel, 2).takenElsewhere(), true);
  });

  test("who goes on elsewhere takes no other tab along", async () => {
    for (const quietly of [false, true]) {
      const makeChannel = hall();
      const [a, b] = [tab(makeChannel, 1), tab(makeChannel, 2)];
      let said = 0;
      b.channel.onmessage = ({ data: { say } }) => { said += say === "goodbye"; };
      a.hold();
      a.release({ quietly });
      await null;
      assert.equal(said, quietly ? 0 : 1);
    }
  });

  test("of two that ask together the older wins", async () => {
    const makeChannel = hall();
    const [a, b] = [tab(makeChannel, 1), tab(makeChannel, 2)];
    assert.deepEqual(await Promise.all([a.takenElsewhere(), b.takenElsewhere()]), [false, true]);
  });
});

describe("store and words", () => {
  test("remembers per sale, and lives without storage", () => {
    const area = new Map();
    const fake = { getItem: (key) => area.get(key) ?? null, setItem: (key, value) => area.set(key, value), removeItem: (key) => area.delete(key) };
    openStore("a", fake, fake).setPlace("k1.p");
    assert.equal(openStore("a", fake, fake).place(), "k1.p");
    assert.equal(openStore("b", fake, fake).place(), null);
    const without = openStore("a", null, null);
    assert.equal(without.lasting, false);
    without.setPlace("k1.q");
    assert.equal(without.place(), "k1.q");
  });

  test("both languages have the same words", () => {
    assert.deepEqual(Object.keys(ko).sort(), Object.keys(en).sort());
    for (const key of Object.keys(en)) assert.equal(typeof ko[key] === "string" || typeof en[key] === "string" || typeof ko[key] === typeof en[key], true, key);
  });

  test("the language follows the choice, then the browser", () => {
    assert.equal(chooseLanguage("en", ["ko-KR"]), "en");
    assert.equal(chooseLanguage(null, ["ja", "ko-KR"]), "ko");
    assert.equal(chooseLanguage(null, ["ja"]), "en");
  });
});

describe("pages", () => {
  const folder = new URL("../../static/", import.meta.url);
  const files = readdirSync(folder);
  const text = (name) => readFileSync(new URL(name, folder), "utf8");

  test("nothing inline but what the policy names, nothing from elsewhere, so that the strict CSP holds", () => {
    for (const name of files) {
      const source = text(name);
      assert.doesNotMatch(source.replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\//, name);
      assert.doesNotMatch(source, /innerHTML|insertAdjacentHTML|setAttribute\("style"|\beval\(/, name);
      // A script of the page's own is plain, and stands in its policy by its hash.
      if (name.endsWith(".html")) assert.doesNotMatch(source, /style=|onclick=|<style|<script(?![^>]* src=|>)/, name);
    }
  });
});
