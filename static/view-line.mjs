// Waiting: how many are ahead, how far it has come, how long it may take and, when that cannot be
// said, why. Also the countdown before the sale opens.

import { button, ask, el, setAttr, setHidden, setText } from "./dom.mjs";
import { alertsState, askForAlerts } from "./attention.mjs";
import { serverTime } from "./clock.mjs";
import { dateTime, etaWords, number, t, untilWords } from "./i18n.mjs";
import { proofTool } from "./receipt.mjs";
import { isNext, stillFor } from "./state.mjs";

/** Nobody is told of a change of the others alone. */
const TOTAL_OLD_MS = 15_000;
const WHY_PHASES = ["paused", "all_held", "sold_out"];

export function lineView(ctx) {
  const title = el("h1", { class: "screen-title" });
  const opening = openingCard();
  const why = el("section", { class: "why", test: "why", role: "status" }, el("h2", {}), el("p", {}));
  const lost = el("p", { class: "banner refusal", test: "refusal", role: "alert", hidden: true });
  const rank = rankCard();
  const eta = factCard("eta_title", "eta");
  const total = factCard("total_title", "total");
  const alerts = alertTool();
  const root = el("section", { class: "screen line" },
    title, lost, opening.root, why, rank.root,
    el("div", { class: "facts" }, eta.root, total.root),
    el("p", { class: "keeps", test: "keeps" }, t(ctx.lasting ? "reload_keeps" : "reload_loses")),
    el("div", { class: "line-tools" }, alerts.root, proofTool(ctx).root, leaveButton(ctx, "leave")));

  return {
    root,
    update(state, at) {
      const { place, phase } = state;
      const scheduled = phase === "scheduled";
      setText(title, t("waiting_title"));
      setHidden(opening.root, !scheduled);
      if (scheduled) opening.update(state, at);
      const halted = WHY_PHASES.includes(phase);
      setHidden(why, !halted);
      setAttr(why, "data-phase", phase);
      if (halted) {
        setText(why.firstChild, t(`why_${phase}_title`));
        setText(why.lastChild, t(`why_${phase}`));
      }
      setHidden(lost, !state.refusal);
      if (state.refusal) setText(lost, t("refused_not_booked"));
      rank.update(state);
      alerts.update();
      eta.update(...etaFact(state, at));
      total.update(t("total_people", { count: number(place.total) }), at - place.heardAt > TOTAL_OLD_MS ? t("total_old") : "");
      setHidden(total.root, place.total <= place.rank);
      setAttr(root, "data-link", state.link.status);
    },
  };
}

function rankCard() {
  const before = el("span", { class: "rank-word" });
  const figure = el("strong", { class: "rank-number", test: "rank" });
  const after = el("span", { class: "rank-word" });
  const hint = el("p", { class: "rank-hint" }, t("next_text"));
  const bar = el("div", { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": t("progress_label"), test: "progress" },
    el("span", { class: "progress-fill" }));
  const startWord = el("span", {});
  const doneWord = el("span", {});
  const progress = el("div", { class: "progress-box" }, bar, el("p", { class: "progress-words" }, startWord, doneWord));
  const root = el("section", { class: "card rank" }, el("p", { class: "rank-line" }, before, figure, after), hint, progress);
  return {
    root,
    update(state) {
      const { place: { rank }, start } = state;
      const next = isNext(state);
      const words = rank === 0;
      setAttr(root, "data-rank", String(rank));
      setText(before, words ? "" : t("ahead_before"));
      setText(figure, next ? t("next") : words ? t("ahead_none") : t("ahead_number", { count: number(rank) }));
      setText(after, words ? "" : t("ahead_after"));
      figure.classList.toggle("is-words", words);
      setHidden(hint, !next);
      const known = start !== null && start > 0;
      setHidden(progress, !known);
      if (!known) return;
      // Rounded down: 100 % would say that it is over.
      const percent = Math.min(99, Math.floor(((start - rank) / start) * 100));
      bar.firstChild.style.transform = `scaleX(${(start - rank) / start})`;
      setAttr(bar, "aria-valuenow", String(percent));
      setText(startWord, t("progress_start", { count: number(start) }));
      setText(doneWord, t("progress_done", { percent }));
    },
  };
}

/** → [value, the reason beside it] */
function etaFact(state, at) {
  const { place, phase, link, outageSince } = state;
  if (phase === "scheduled") return [t("eta_none"), t("eta_scheduled")];
  if (WHY_PHASES.includes(phase)) return [t("eta_none"), t("eta_paused")];
  if (outageSince !== null) return [t("eta_none"), t("eta_paused")];
  const still = stillFor(state, at);
  if (link.status !== "live") return place.eta && still === null ? [etaWords(place.eta), t("eta_stale")] : [t("eta_none"), ""];
  // Whoever is not let in is told so, not comforted with an estimate that has passed.
  if (still !== null) return [t("eta_none"), t("eta_still", { minutes: Math.floor(still / 60_000) })];
  if (!place.eta) return [t("eta_none"), t("eta_gathering")];
  return [etaWords(place.eta), place.slower ? t("eta_slower") : ""];
}

function factCard(title, test) {
  const value = el("dd", { class: "fact-value", test });
  const reason = el("dd", { class: "fact-reason", test: `${test}-reason` });
  const root = el("dl", { class: "fact" }, el("dt", {}, t(title)), value, reason);
  return {
    root,
    update(text, why) {
      setText(value, text);
      setText(reason, why);
      setHidden(reason, why === "");
    },
  };
}

function openingCard() {
  const clock = el("strong", { class: "opening-clock", role: "timer", test: "opens-in" });
  const when = el("p", { class: "opening-when" });
  const label = el("p", { class: "opening-label" }, t("countdown_title"));
  const text = el("p", { class: "opening-text" });
  const root = el("section", { class: "card opening" }, label, clock, when, text);
  return {
    root,
    update({ opensAt, clock: serverNow }, at) {
      const left = opensAt ? Date.parse(opensAt) - (serverTime(serverNow, at) ?? Date.now()) : null;
      setHidden(label, left === null);
      setText(clock, left === null ? t("phase_scheduled") : left > 0 ? untilWords(left) : t("countdown_soon"));
      clock.classList.toggle("is-words", left === null || left <= 0);
      clock.classList.toggle("is-long", left > 86_400_000);
      setText(text, t(left === null || left <= 0 ? "countdown_text_none" : "countdown_text"));
      setText(when, left === null ? t("countdown_none") : t("countdown_at", { at: dateTime(opensAt) }));
    },
  };
}

function alertTool() {
  const root = el("div", { class: "alert-tool", tabindex: "-1" });
  let shown = null;
  const update = () => {
    const state = alertsState();
    if (state === shown) return;
    shown = state;
    const word = { granted: "alert_on", denied: "alert_denied" }[state];
    root.replaceChildren();
    if (word) root.append(el("p", { class: "quiet" }, t(word)));
    if (state === "default") root.append(button(t("alert_ask"), { class: "button", test: "alert" }, async () => {
      await askForAlerts();
      update();
      root.focus(); // The button is gone with its question.
    }));
  };
  return { root, update };
}

/** `kind`: "leave" the line, or "giveup" the turn. */
export function leaveButton(ctx, kind) {
  return button(t(kind), { class: "button plain", test: "leave" }, async () => {
    const yes = await ask({ title: t(`${kind}_title`), text: t(`${kind}_text`), yes: t(`${kind}_yes`), no: t(`${kind}_no`), test: "leave-dialog" });
    if (yes) ctx.do.leave();
  });
}
