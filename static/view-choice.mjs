// The two ways to book in a turn: the seats picked on the map, or the best available; and the
// refusals in words, with what to do next.

import { ask, button, el, setDisabled, setHidden, setText, takeBackQuestion } from "./dom.mjs";
import { number, seatWords, seatsWords, t } from "./i18n.mjs";
import { freeSeats } from "./plan.mjs";

export function pickPanel(ctx) {
  const count = el("p", { class: "pick-count", role: "status", test: "picked-count" });
  const lost = el("p", { class: "quiet lost", role: "alert", test: "picked-lost", hidden: true });
  const list = el("ul", { class: "picked-list", test: "picked" });
  let last = null;
  let reviewed = null;
  const book = button("", { class: "button primary wide", test: "redeem" }, async () => {
    reviewed = last.picked;
    if (await review("picked", last.picked.length, last.picked.map((guid) => seatAndCategory(last.plan, guid)))) ctx.do.redeemPicked();
    reviewed = null;
  });
  const root = el("div", { class: "pick only-pick", tabindex: "-1" }, lost, count, list, book);
  let shown = null;
  return {
    root,
    update(state, at) {
      const { picked, grant, plan, redeem, lostPicks } = state;
      last = state;
      // A seat of the question was just taken by someone else.
      if (reviewed !== null && reviewed !== picked) takeBackQuestion();
      setHidden(count, picked.length === 0);
      setText(count, t("picked_count", { count: picked.length, max: grant.maxSeats }));
      setHidden(lost, lostPicks.length === 0);
      if (lostPicks.length > 0) setText(lost, t("picked_lost", { seats: seatsWords(plan, lostPicks) }));
      // After a reload the choice is there before the plan, which has the seats' names.
      const key = JSON.stringify([picked, redeem !== null, plan !== null]);
      if (key !== shown) {
        shown = key;
        const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
        list.replaceChildren(...picked.map((guid) => pickedItem(ctx, plan, guid, redeem !== null)));
        // Whoever removes one by one goes on with the next; after the last the panel itself is next.
        if (focused >= 0) (list.children[Math.min(focused, picked.length - 1)]?.querySelector("button") ?? root).focus();
      }
      bookButton(book, state, at, picked.length > 0,
        picked.length === 0 ? t("redeem_none", { max: grant.maxSeats }) : t("redeem", { count: picked.length }));
    },
  };
}

/** The one look at what is about to be booked, for afterwards it cannot be changed. → yes or no */
function review(kind, count, list) {
  return ask({
    title: t(`review_${kind}_title`, { count }), list, text: t(`review_${kind}`), kind: "primary",
    yes: t("redeem", { count }), no: t("review_no"), test: "review",
  });
}

function seatAndCategory(plan, guid) {
  const category = plan?.categories[plan.byGuid.get(guid)?.category]?.name;
  return [seatWords(plan, guid), category].filter(Boolean).join(" · ");
}

function pickedItem(ctx, plan, guid, sent) {
  const seat = seatWords(plan, guid);
  const remove = button("×", { class: "remove", "aria-label": t("picked_remove", { seat }) }, () => ctx.do.toggle(guid));
  setDisabled(remove, sent);
  const category = plan?.categories[plan.byGuid.get(guid)?.category]?.name;
  return el("li", { "data-seat": guid }, el("span", { class: "picked-words" }, el("span", {}, seat), category && el("span", { class: "tag" }, category)), remove);
}

function bookButton(node, { redeem, link, grant, outageSince }, at, ready, label) {
  setDisabled(node, redeem !== null || !ready || link.status !== "live" || outageSince !== null || at >= grant.expiresAt);
  setText(node, redeem ? t("redeem_sending") : label);
  if (redeem) node.setAttribute("aria-busy", "true");
  else node.removeAttribute("aria-busy");
}

export function bestForm(ctx) {
  let max = 1;
  const output = el("output", { class: "count", "aria-live": "polite", test: "best-count" });
  const count = () => Math.max(1, Math.min(max, last.choice.count));
  const step = (by) => ctx.do.choose({ count: Math.max(1, Math.min(max, count() + by)) });
  const less = button("−", { class: "step", "aria-label": t("best_less"), test: "best-less" }, () => step(-1));
  const more = button("+", { class: "step", "aria-label": t("best_more"), test: "best-more" }, () => step(1));
  const category = el("select", { id: "best-category", test: "best-category", on: { change: () => ctx.do.choose({ category: category.value }) } }, el("option", { value: "" }, t("best_any")));
  const together = el("input", { type: "checkbox", id: "best-together", "aria-describedby": "best-together-text", test: "best-together",
    on: { change: () => ctx.do.choose({ together: together.checked }) } });
  const book = button("", { class: "button primary wide", test: "redeem-best" }, async () => {
    // The wire is strict: only what was chosen is sent.
    const { choice } = last;
    const best = {
      count: count(),
      ...(choice.category === "" ? {} : { category: choice.category }),
      ...(choice.together && count() > 1 ? { together: true } : {}),
    };
    const list = [t("seats_count", { count: best.count }), best.category ?? t("best_any"), best.together && t("best_together")].filter(Boolean);
    if (await review("best", best.count, list)) ctx.do.redeemBest(best);
  });
  const togetherRow = el("div", { class: "field check" }, together, el("label", { for: "best-together" }, t("best_together"),
    el("span", { class: "quiet", id: "best-together-text" }, t("best_together_text"))));
  const categoryRow = el("div", { class: "field" }, el("label", { for: "best-category" }, t("best_category")), category);
  const root = el("div", { class: "best only-best" },
    el("div", { class: "field" }, el("span", { id: "best-count-label" }, t("best_count")),
      el("div", { class: "stepper", role: "group", "aria-labelledby": "best-count-label" }, less, output, more)),
    categoryRow, togetherRow, book);
  let last = null;
  let seen = null;

  function show() {
    setText(output, String(count()));
    setDisabled(less, count() <= 1);
    setDisabled(more, count() >= max);
    setHidden(togetherRow, count() < 2);
    together.checked = last.choice.together;
    // Until the plan is there a kept choice has no option.
    if ([...category.options].some(({ value }) => value === last.choice.category)) category.value = last.choice.category;
  }

  return {
    root,
    update(state, at) {
      last = state;
      max = state.grant.maxSeats;
      const taken = state.map?.taken ?? null;
      if (state.plan && (seen === null || seen.taken !== taken || seen.plan !== state.plan)) {
        seen = { plan: state.plan, taken };
        fillCategories(category, state.plan, taken);
        setHidden(categoryRow, category.options.length < 3);
      }
      show();
      bookButton(book, state, at, true, t("best_redeem", { count: count() }));
    },
  };
}

function fillCategories(select, plan, taken) {
  plan.categories.forEach(({ name }, index) => {
    const seats = plan.seats.filter((seat) => seat.category === index);
    if (seats.length === 0) return;
    let option = [...select.options].find(({ value }) => value === name);
    if (!option) {
      option = el("option", { value: name });
      select.append(option);
    }
    const free = taken ? freeSeats(seats, taken) : null;
    setText(option, free === null ? name : t("best_option", { name, count: number(free) }));
    option.disabled = free === 0;
  });
}

const REFUSALS = new Set(["all_picked", "seat_taken", "unknown_seat", "too_many_seats", "no_seats_together", "busy",
  "sold_out", "token_invalid", "token_expired", "not_granted", "not_booked", "leave"]);

export function refusalBox() {
  const words = el("p", {});
  const seats = el("p", { class: "refused-seats" });
  const root = el("div", { class: "banner refusal", role: "alert", test: "refusal", hidden: true }, words, seats);
  let told = null;
  return {
    root,
    update({ refusal, redeem, plan, grant }) {
      const cut = redeem?.lost === true;
      setHidden(root, refusal === null && !cut);
      const news = cut ? "cut" : refusal;
      // On a phone the visitor may have scrolled past it, down to the map.
      if (news !== told && news !== null) requestAnimationFrame(() => root.scrollIntoView({ block: "nearest" }));
      told = news;
      if (cut) {
        setText(words, t("redeem_lost"));
        setText(seats, "");
        return;
      }
      if (refusal === null) return;
      root.setAttribute("data-reason", refusal.reason);
      const reason = REFUSALS.has(refusal.reason) ? refusal.reason : "other";
      setText(words, t(`refused_${reason}`, { max: grant.maxSeats }));
      setText(seats, seatsWords(plan, refusal.seats));
    },
  };
}
