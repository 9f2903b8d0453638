// The seat map: one SVG circle a seat inside a native scroller (panning by touch, wheel and
// keyboard comes with the browser); colours, picking and the keyboard live here, zoom in zoom.mjs.

import { setAttr, setText, svg, el } from "./dom.mjs";
import { seatWords, t } from "./i18n.mjs";
import { legible, neighbour } from "./plan.mjs";
import { Zoom } from "./zoom.mjs";

const FREE = 0;
const TAKEN = 1;
const PICKED = 2;
const SENT = 3;
const STATE_CLASS = ["free", "taken", "picked", "sent"];
/** Of the distance between seats; a taken seat also differs in size, not in colour alone. */
const RADIUS = [0.4, 0.2, 0.46, 0.46];
/** Smaller than this a finger cannot choose: the tap zooms in instead. */
const FINGER_PX = 20;
const TAP_ZOOM_PX = 30;
const KEY_ZOOM_PX = 22;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Where and how large a name stands that is to be in the middle of `x`, and within the hall. */
export function fitted(name, x, size, hall) {
  // Chinese, Japanese and Korean letters are squares; the widest of the others (W) are nearly so.
  const ems = [...name].reduce((sum, letter) => sum + (letter >= "\u1100" || "WM@%".includes(letter) ? 1 : 0.66), 0);
  const fits = Math.min(size, hall.width / ems);
  const half = (fits * ems) / 2;
  return { x: Math.min(Math.max(x, hall.x + half), hall.x + hall.width - half), size: fits };
}

export class SeatMap {
  /** @param onPick (guid) → void */
  constructor(plan, onPick) {
    this.plan = plan;
    this.onPick = onPick;
    this.shown = new Uint8Array(plan.seats.length).fill(255);
    this.circles = plan.seats.map((seat) => svg("circle", {
      class: "seat", cx: seat.x, cy: seat.y, "data-i": seat.index, "data-seat": seat.guid,
      role: "checkbox", tabindex: "-1",
    }));
    this.ticks = svg("g", { class: "ticks", "aria-hidden": "true" });
    this.svg = svg("svg", {
      class: "hall", role: "group", "aria-label": t("map_label"), "aria-describedby": "map-keys", test: "seat-map",
      viewBox: [plan.box.x, plan.box.y, plan.box.width, plan.box.height].join(" "),
    }, svg("g", { "aria-hidden": "true" }, ...this.#labels()), svg("g", {}, ...this.circles), this.ticks);
    this.caption = el("p", { class: "map-caption", "aria-hidden": "true" });
    this.zoom = new Zoom(this.svg, plan);
    this.root = el("div", { class: "map" }, this.zoom.scroller, el("div", { class: "map-foot" }, this.caption, this.zoom.tools));
    this.current = null;
    this.#listen();
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.recolor = () => { this.colors = null; };
    this.dark.addEventListener("change", this.recolor);
  }

  destroy() {
    this.dark.removeEventListener("change", this.recolor);
    this.zoom.destroy();
  }

  showZone(zone) {
    this.zoom.show(zone.box, TAP_ZOOM_PX);
  }

  categoryColor(index) {
    this.colors ??= this.plan.categories.map(({ color }) => legible(color, surfaceColor(this.root)));
    return this.colors[index] ?? "#808080";
  }

  /** Touches only the seats whose state changed. */
  update({ map, picked, redeem }) {
    const recolor = !this.colors;
    const mine = new Set(picked);
    for (const seat of this.plan.seats) {
      let next = map.taken[seat.index] ? TAKEN : FREE;
      if (mine.has(seat.guid)) next = redeem ? SENT : PICKED;
      if (next === this.shown[seat.index] && !recolor) continue;
      this.shown[seat.index] = next;
      this.#draw(seat, next);
    }
    this.#drawTicks(picked);
    if (this.current === null) this.#setCurrent(this.plan.seats.find(({ index }) => !map.taken[index]) ?? this.plan.seats[0]);
    if (this.captioned) this.#describe(this.captioned);
  }

  #draw(seat, state) {
    const circle = this.circles[seat.index];
    setAttr(circle, "class", `seat ${STATE_CLASS[state]}`);
    setAttr(circle, "r", String(this.plan.pitch * RADIUS[state]));
    setAttr(circle, "fill", this.categoryColor(seat.category));
    setAttr(circle, "aria-checked", String(state >= PICKED));
    setAttr(circle, "aria-disabled", state === TAKEN ? "true" : null);
    setAttr(circle, "aria-label", this.#words(seat));
  }

  #words(seat) {
    const state = this.shown[seat.index];
    const word = state === TAKEN ? "seat_taken_state" : state >= PICKED ? "seat_picked" : "seat_free";
    const category = this.plan.categories[seat.category]?.name;
    return [seatWords(this.plan, seat.guid), category, t(word)].filter(Boolean).join(" · ");
  }

  #drawTicks(picked) {
    const key = picked.join(" ");
    if (key === this.ticksKey) return;
    this.ticksKey = key;
    const s = this.plan.pitch * 0.46;
    this.ticks.replaceChildren(...picked.map((guid) => this.plan.byGuid.get(guid)).filter(Boolean).map(({ x, y }) =>
      svg("path", { d: `M${x - s * 0.45} ${y + s * 0.02}l${s * 0.33} ${s * 0.36}l${s * 0.58} ${-s * 0.68}`, "stroke-width": s * 0.24 })));
  }

  #labels() {
    const { pitch, zones, rows, box: hall } = this.plan;
    const zoneLabels = zones.filter(({ name, seats }) => name && seats.length).map(({ name, box }) => {
      const { x, size } = fitted(name, box.x + box.width / 2, pitch * 1.3, hall);
      return svg("text", { class: "zone-label", x, y: box.y + pitch * 0.1, "font-size": size }, name);
    });
    const rowLabels = rows.filter(({ name, seats }) => name && seats.length).map(({ name, seats: [first] }) =>
      svg("text", { class: "row-label", x: first.x - pitch * 0.75, y: first.y + pitch * 0.18, "font-size": pitch * 0.5 }, name));
    return [...zoneLabels, ...rowLabels];
  }

  #listen() {
    let pointerType = "mouse";
    this.svg.addEventListener("pointerdown", (event) => { pointerType = event.pointerType; });
    this.svg.addEventListener("click", (event) => this.#clicked(event, pointerType));
    this.svg.addEventListener("keydown", (event) => this.#key(event));
    this.svg.addEventListener("focusin", (event) => this.#describe(this.#seatOf(event.target)));
    this.svg.addEventListener("pointerover", (event) => {
      const seat = this.#seatOf(event.target);
      if (seat && event.pointerType === "mouse") this.#describe(seat);
    });
    this.svg.addEventListener("pointerleave", () => this.#describe(null));
  }

  #clicked(event, pointerType) {
    if (this.zoom.dragged) return;
    // Assistive technology clicks without coordinates.
    const bare = event.detail === 0;
    const point = this.zoom.toPlan(event.clientX, event.clientY);
    if (!bare && pointerType === "touch" && this.plan.pitch * this.zoom.scale < FINGER_PX) {
      this.zoom.showPoint(point, TAP_ZOOM_PX);
      return;
    }
    const seat = this.#seatOf(event.target) ?? (bare ? null : this.#nearest(point));
    if (!seat) return;
    this.#setCurrent(seat);
    this.onPick(seat.guid);
  }

  /** The gaps between circles belong to the nearest seat: fingers are not exact. */
  #nearest({ x, y }) {
    let best = null;
    let within = this.plan.pitch * 0.6;
    for (const seat of this.plan.seats) {
      const distance = Math.hypot(seat.x - x, seat.y - y);
      if (distance < within) [best, within] = [seat, distance];
    }
    return best;
  }

  #key(event) {
    const seat = this.#seatOf(event.target);
    if (!seat || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      this.onPick(seat.guid);
    } else if (ARROWS[event.key]) {
      this.#focus(neighbour(this.plan.seats, seat, ...ARROWS[event.key]));
    } else if (event.key === "Home" || event.key === "End") {
      this.#focus(seat.row.seats.at(event.key === "Home" ? 0 : -1));
    } else {
      return;
    }
    event.preventDefault();
  }

  #focus(seat) {
    if (!seat) return;
    this.#setCurrent(seat);
    this.zoom.reveal(seat, KEY_ZOOM_PX);
    this.circles[seat.index].focus({ preventScroll: true });
  }

  /** One stop in the tab order for the whole map; the arrows do the rest. */
  #setCurrent(seat) {
    if (this.current) setAttr(this.circles[this.current.index], "tabindex", "-1");
    this.current = seat;
    if (seat) setAttr(this.circles[seat.index], "tabindex", "0");
  }

  #seatOf(target) {
    const index = target?.getAttribute?.("data-i");
    return index === null || index === undefined ? null : this.plan.seats[Number(index)];
  }

  #describe(seat) {
    this.captioned = seat;
    setText(this.caption, seat ? this.#words(seat) : "");
  }
}

function surfaceColor(node) {
  return getComputedStyle(node.isConnected ? node : document.body).getPropertyValue("--map").trim() || "#ffffff";
}
