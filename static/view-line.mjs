// Waiting: how many are ahead, how far it has come, how long it may take and, when that cannot be
// said, why. Also the countdown before the sale opens.

import { button, ask, el, setAttr, setHidden, setText } from "./dom.mjs";
import { alertsPossible, alertsState, askForAlerts } from "./attention.mjs";
import { serverTime } from "./clock.mjs";
import { dateTime, etaWords, number, t, untilWords } from "./i18n.mjs";

const STILL_AFTER_MS = 90_000;
const WHY_PHASES = ["paused", "all_held", "sold_out"];

export function lineView(ctx) {
  const title = el("h1", { class: "screen-title" });
  const opening = openingCard();
  const why = el("section", { class: "why", test: "why", role: "status" }, el("h2", {}), el("p", {}));
  const lost = el("p", { class: "banner refusal", test: "refusal", role: "alert", hidden: true });
  const rank = rankCard();
  const eta = factCard("eta_title", "eta");
  const total = factCard("total_title", "total");
  const root = el("section", { class: "screen line" },
    title, lost, opening.root, why, rank.root,
    el("div", { class: "facts" }, eta.root, total.root),
    el("p", { class: "keeps" }, t("reload_keeps")),
    el("div", { class: "line-tools" }, alertTool(), leaveButton(ctx, "leave")));

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
      eta.update(...etaFact(state, at));
      total.update(t("total_people", { count: number(place.total) }), "");
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
    update({ place: { rank }, start, phase }) {
      const next = rank === 0;
      setAttr(root, "data-rank", String(rank));
      setText(before, next ? "" : t("ahead_before"));
      setText(figure, next ? t("next") : t("ahead_number", { count: number(rank) }));
      setText(after, next ? "" : t("ahead_after"));
      figure.classList.toggle("is-words", next);
      setHidden(hint, !next || phase !== "open");
      const known = start !== null && start > 0;
      setHidden(progress, !known);
      if (!known) return;
      // Rounded down: 100 % would say that it is over.
      const percent = Math.floor(((start - rank) / start) * 100);
      bar.firstChild.style.transform = `scaleX(${(start - rank) / start})`;
      setAttr(bar, "aria-valuenow", String(percent));
      setText(startWord, t("progress_start", { count: number(start) }));
      setText(doneWord, t("progress_done", { percent }));
    },
  };
}

/** → [value, the reason beside it] */
function etaFact({ place, phase, link }, at) {
  const stale = link.status !== "live";
  if (phase === "scheduled") return [t("eta_none"), t("eta_scheduled")];
  if (WHY_PHASES.includes(phase)) return [t("eta_none"), t("eta_paused")];
  const still = at - place.movedAt > STILL_AFTER_MS;
  const stillWords = () => t("eta_still", { minutes: Math.floor((at - place.movedAt) / 60_000) });
  if (!place.eta) return [t("eta_none"), still ? stillWords() : t("eta_gathering")];
  const words = etaWords(place.eta);
  if (stale) return [words, t("eta_stale")];
  if (still) return [words, stillWords()];
  return [words, place.slower ? t("eta_slower") : ""];
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
      setText(text, t(left === null ? "countdown_text_none" : "countdown_text"));
      setText(when, left === null ? t("countdown_none") : t("countdown_at", { at: dateTime(opensAt) }));
    },
  };
}

function alertTool() {
  const box = el("div", { class: "alert-tool" });
  const show = () => {
    const state = alertsState();
    if (state === "granted") box.replaceChildren(el("p", { class: "quiet" }, t("alert_on")));
    else if (state === "denied") box.replaceChildren(el("p", { class: "quiet" }, t("alert_denied")));
    else box.replaceChildren(button(t("alert_ask"), { class: "button", test: "alert" }, async () => {
      await askForAlerts();
      show();
    }));
  };
  if (alertsPossible()) show();
  return box;
}

export function leaveButton(ctx, label) {
  return button(t(label), { class: "button plain", test: "leave" }, async () => {
    const yes = await ask({ title: t("leave_title"), text: t("leave_text"), yes: t("leave_yes"), no: t("leave_no"), test: "leave-dialog" });
    if (yes) ctx.do.leave();
  });
}
