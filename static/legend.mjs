// Beside the seat map: what the colours mean and how many are free, and a way to each block that
// needs no fine aim.

import { button, el, setText } from "./dom.mjs";
import { number, t } from "./i18n.mjs";
import { freeSeats } from "./plan.mjs";

export function legend(map, plan) {
  const used = plan.categories.map((category, index) => ({
    ...category, index, seats: plan.seats.filter((seat) => seat.category === index),
  })).filter(({ seats }) => seats.length > 0);
  const entries = used.map(({ name, index, seats }) => {
    const swatch = el("span", { class: "swatch" });
    const word = el("span", {});
    return { name, index, seats, swatch, word, item: el("li", {}, swatch, word) };
  });
  const root = el("ul", { class: "legend" }, ...entries.map(({ item }) => item),
    el("li", {}, el("span", { class: "swatch taken" }), t("legend_taken")),
    el("li", {}, el("span", { class: "swatch picked" }, "✓"), t("legend_picked")));
  return {
    root,
    update: onNewMap((taken) => {
      for (const { name, index, seats, swatch, word } of entries) {
        swatch.style.backgroundColor = map.categoryColor(index);
        setText(word, t("legend_free", { category: name, count: number(freeSeats(seats, taken)) }));
      }
    }),
  };
}

export function zoneChips(map, plan) {
  const zones = plan.zones.filter(({ seats }) => seats.length > 0);
  const chips = zones.map((zone) => {
    const count = el("span", { class: "chip-count" });
    const chip = button("", { class: "chip", test: "zone" }, () => map.showZone(zone));
    // Its name is what is seen, and a word that only listeners need.
    chip.append(el("span", {}, zone.name), count, el("span", { class: "spoken" }, t("seat_free")));
    return { zone, count, chip };
  });
  const root = el("div", { class: "chips", role: "group", "aria-label": t("zones_label") }, ...chips.map(({ chip }) => chip));
  // One block is the whole hall.
  root.hidden = zones.length < 2;
  return {
    root,
    update: onNewMap((taken) => {
      for (const { zone, count } of chips) {
        setText(count, number(freeSeats(zone.seats, taken)));
      }
    }),
  };
}

/** The screen is updated four times a second; counting again is only needed for a new map. */
function onNewMap(run) {
  let seen = null;
  return ({ map: { taken } }) => {
    if (taken === seen) return;
    seen = taken;
    run(taken);
  };
}
