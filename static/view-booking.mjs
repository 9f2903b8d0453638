// After a redeem: seats held (not booked yet), booked, or released again.

import { button, el, setAttr, setDisabled, setHidden, setText, svg } from "./dom.mjs";
import { countdown, spokenSeconds } from "./clock.mjs";
import { number, seatWords, t } from "./i18n.mjs";
import { proofTool } from "./receipt.mjs";
import { atLimit, mayJoinAgain, seatsBooked } from "./state.mjs";
import { bookingList } from "./view-message.mjs";

/** Drawn, not typed: which symbols a font has is anyone's guess. */
const MARK = { held: "M12 6v6l4 3M12 2a10 10 0 1 0 0.01 0", confirmed: "M5 13l5 5L19.5 7", released: "M6 12h12" };
const WORD = { held: "held", confirmed: "booked", released: "released" };

export function bookingView(ctx) {
  const drawing = svg("path", { d: "" });
  const mark = el("span", { class: "booking-mark", "aria-hidden": "true" }, svg("svg", { viewBox: "0 0 24 24" }, drawing));
  const title = el("h1", { class: "message-title" });
  const text = el("p", { class: "message-text" });
  const timeLabel = el("span", { class: "time-label" }, t("held_left"));
  const time = el("strong", { class: "time", role: "timer", test: "hold-left" });
  const timer = el("p", { class: "hold-timer" }, timeLabel, time);
  const apart = el("p", { class: "quiet" }, t("booked_apart"));
  const seats = el("ul", { class: "seat-list", test: "booked-seats" });
  const count = el("span", { class: "slip-count" });
  const id = el("code", { test: "booking-id" });
  const slip = el("section", { class: "slip" },
    el("h2", {}, t("booking_seats"), count), seats, apart,
    el("p", { class: "slip-id" }, el("span", {}, t("booking_number")), id));
  const closed = el("p", { class: "quiet" });
  const again = button(t("again"), { class: "button", test: "again" }, ctx.do.again);
  const againText = el("p", { class: "quiet" });
  const earlier = bookingList();
  const root = el("section", { class: "screen message booking" },
    el("div", { class: "booking-head" }, mark, el("div", {}, title, text)),
    timer, slip, closed, el("div", { class: "again" }, again, againText), earlier.root,
    ctx.do.hasPlace() && proofTool(ctx).root);
  let shown = null;
  let status = null;
  let spokenMs = Infinity;

  return {
    root,
    update(state, now) {
      const { booking, plan } = state;
      // As with a turn: an outage is added to the deadline when it is over.
      const at = state.link.status === "live" ? Math.min(now, state.outageSince ?? now) : now;
      const word = WORD[booking.status] ?? "booked";
      setAttr(root, "data-status", booking.status);
      setAttr(drawing, "d", MARK[booking.status] ?? "");
      setText(title, t(`${word}_title`));
      // The screen stays, so its heading is not read again by itself.
      if (status !== null && status !== booking.status) ctx.say(t(`${word}_title`));
      status = booking.status;
      setText(text, t(`${word}_text`));
      setText(id, booking.id);
      setText(count, t("seats_count", { count: booking.seats.length }));
      setHidden(apart, !booking.best || booking.together !== false || booking.seats.length < 2 || booking.status === "released");
      const key = JSON.stringify([booking.seats, plan !== null]);
      if (key !== shown) {
        shown = key;
        seats.replaceChildren(...booking.seats.map((guid) => seatItem(plan, guid)));
      }
      const held = booking.status === "held" && booking.holdExpiresAt !== null;
      setHidden(timer, !held);
      setHidden(text, held && booking.holdExpiresAt <= at);
      if (held) {
        const left = booking.holdExpiresAt - at;
        setHidden(timeLabel, left <= 0);
        setText(time, left > 0 ? countdown(left) : t(state.link.status === "cut" || !navigator.onLine ? "held_over_cut" : "held_over"));
        time.classList.toggle("is-words", left <= 0);
        setAttr(timer, "data-urgent", left < 60_000 ? "yes" : null);
        const spoken = spokenSeconds(spokenMs, left);
        if (spoken !== null) ctx.say(t("spoken_left", { seconds: spoken }));
        spokenMs = left;
      }
      updateAgain(state);
    },
  };

  function updateAgain(state) {
    const word = state.phase === "closed" ? t("closed_text") : state.booking.status !== "held" && atLimit(state) ? t("limit_note") : "";
    setHidden(closed, word === "");
    setText(closed, word);
    // While seats are held the visitor has to pay, not to queue.
    const offer = state.booking.status !== "held" && mayJoinAgain(state);
    setHidden(again.parentElement, !offer);
    setDisabled(again, state.again);
    const booked = seatsBooked(state);
    setText(again, t(booked > 0 ? "again" : "again_first"));
    const left = state.maxSeats === null ? null : state.maxSeats - booked;
    const isFull = state.phase === "sold_out" || state.phase === "all_held";
    setText(againText, isFull ? t("again_text_full") : left === null ? t("again_text_unknown") : t("again_text", { left: number(left), booked: booked > 0 }));
    setHidden(earlier.root, state.bookings.length < 2);
    earlier.update(state, state.booking.id);
  }
}

function seatItem(plan, guid) {
  const seat = plan?.byGuid.get(guid);
  const category = seat && plan.categories[seat.category]?.name;
  return el("li", { "data-seat": guid }, el("span", {}, seatWords(plan, guid)),
    category && el("span", { class: "tag" }, category));
}
