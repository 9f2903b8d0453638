// Zoom and pan of the seat map: the scroller pans natively, this sets how large the drawing is.

import { button, el } from "./dom.mjs";
import { t } from "./i18n.mjs";

const LARGEST_SEAT_PX = 48;
const STEP = 1.6;
const DRAG_PX = 5;

export class Zoom {
  constructor(drawing, plan) {
    this.drawing = drawing;
    this.plan = plan;
    this.scale = 0;
    this.fitted = true;
    this.dragged = false;
    this.scroller = el("div", { class: "map-scroll", tabindex: "-1" }, drawing);
    this.tools = el("div", { class: "map-tools" },
      button("+", { class: "map-tool", "aria-label": t("zoom_in"), title: t("zoom_in"), test: "zoom-in" }, () => this.by(STEP)),
      button("−", { class: "map-tool", "aria-label": t("zoom_out"), title: t("zoom_out"), test: "zoom-out" }, () => this.by(1 / STEP)),
      button("⤢", { class: "map-tool", "aria-label": t("zoom_fit"), title: t("zoom_fit"), test: "zoom-fit" }, () => this.fit()));
    this.observer = new ResizeObserver(() => { if (this.fitted) this.fit(); else this.set(this.scale); });
    this.observer.observe(this.scroller);
    this.#listenPinch();
    this.#listenDrag();
    this.#listenWheel();
  }

  destroy() {
    this.observer.disconnect();
  }

  get fitScale() {
    const { clientWidth, clientHeight } = this.scroller;
    return Math.min(clientWidth / this.plan.box.width, clientHeight / this.plan.box.height) || 0.1;
  }

  /** Where the drawing stands, for another one of the same hall to `restore`. */
  keep() {
    const { scrollLeft, scrollTop } = this.scroller;
    return this.fitted ? null : { scale: this.scale, scrollLeft, scrollTop };
  }

  restore({ scale, scrollLeft, scrollTop }) {
    this.fitted = false;
    this.#apply(scale);
    Object.assign(this.scroller, { scrollLeft, scrollTop });
  }

  fit() {
    this.fitted = true;
    this.#apply(this.fitScale);
  }

  /** Zooms around a point of the screen; by default the middle of the view. */
  by(factor, clientX = null, clientY = null) {
    this.set(this.scale * factor, clientX, clientY);
  }

  set(scale, clientX = null, clientY = null) {
    const view = this.scroller.getBoundingClientRect();
    const x = clientX ?? view.left + view.width / 2;
    const y = clientY ?? view.top + view.height / 2;
    const point = this.toPlan(x, y);
    const fit = this.fitScale;
    const next = Math.max(fit, Math.min(scale, Math.max(fit, LARGEST_SEAT_PX / this.plan.pitch)));
    this.fitted = next === fit;
    this.#apply(next);
    this.#scrollTo(point, x - view.left, y - view.top);
  }

  /** Shows a zone as large as it fits, yet with seats large enough for a finger. */
  show(box, seatPx) {
    const { clientWidth, clientHeight } = this.scroller;
    const whole = Math.min(clientWidth / box.width, clientHeight / box.height);
    this.showPoint({ x: box.x + box.width / 2, y: box.y + box.height / 2 },
      Math.max(whole * this.plan.pitch, Math.min(seatPx, 26)));
  }

  showPoint(point, seatPx) {
    this.fitted = false;
    this.#apply(Math.max(this.fitScale, seatPx / this.plan.pitch));
    this.#scrollTo(point, this.scroller.clientWidth / 2, this.scroller.clientHeight / 2);
  }

  reveal(seat, seatPx) {
    if (this.plan.pitch * this.scale < seatPx) this.showPoint(seat, seatPx);
    const view = this.scroller.getBoundingClientRect();
    const { left, top } = this.toScreen(seat);
    const margin = this.plan.pitch * this.scale * 2;
    const inside = left > view.left + margin && left < view.right - margin && top > view.top + margin && top < view.bottom - margin;
    if (!inside) this.#scrollTo(seat, view.width / 2, view.height / 2);
  }

  toPlan(clientX, clientY) {
    const { left, top } = this.drawing.getBoundingClientRect();
    return { x: this.plan.box.x + (clientX - left) / this.scale, y: this.plan.box.y + (clientY - top) / this.scale };
  }

  toScreen({ x, y }) {
    const { left, top } = this.drawing.getBoundingClientRect();
    return { left: left + (x - this.plan.box.x) * this.scale, top: top + (y - this.plan.box.y) * this.scale };
  }

  #apply(scale) {
    this.scale = scale;
    // Rounded down, or a fitted drawing would show scroll bars for a fraction of a pixel.
    this.drawing.style.width = `${Math.floor(this.plan.box.width * scale)}px`;
    this.drawing.style.height = `${Math.floor(this.plan.box.height * scale)}px`;
    // Row numbers are unreadable specks in the whole hall.
    this.drawing.classList.toggle("close", this.plan.pitch * scale > 16);
  }

  #scrollTo(point, offsetX, offsetY) {
    const now = this.toScreen(point);
    const view = this.scroller.getBoundingClientRect();
    this.scroller.scrollLeft += now.left - view.left - offsetX;
    this.scroller.scrollTop += now.top - view.top - offsetY;
  }

  #listenPinch() {
    let start = null;
    const span = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    this.scroller.addEventListener("touchstart", (event) => {
      start = event.touches.length === 2 ? { span: span(event.touches), scale: this.scale } : null;
    }, { passive: true });
    this.scroller.addEventListener("touchmove", (event) => {
      if (!start || event.touches.length !== 2) return;
      event.preventDefault();
      const [a, b] = event.touches;
      this.set((start.scale * span(event.touches)) / start.span, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
    }, { passive: false });
  }

  /** A mouse has no finger to pan with. */
  #listenDrag() {
    let from = null;
    this.scroller.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      from = { x: event.clientX, y: event.clientY, left: this.scroller.scrollLeft, top: this.scroller.scrollTop };
    });
    this.scroller.addEventListener("pointermove", (event) => {
      if (!from || (event.buttons & 1) === 0) {
        from = null;
        return;
      }
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (!this.dragged && Math.hypot(dx, dy) < DRAG_PX) return;
      this.dragged = true;
      this.scroller.scrollLeft = from.left - dx;
      this.scroller.scrollTop = from.top - dy;
    });
  }

  /** Plain wheel scrolls; with Ctrl (which a trackpad pinch also reports) it zooms. */
  #listenWheel() {
    this.scroller.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.by(Math.exp(-event.deltaY / 200), event.clientX, event.clientY);
    }, { passive: false });
  }
}
