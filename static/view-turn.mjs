// The turn: how long it lasts, the seat map, and the way to book.

import { button, el, setAttr, setHidden, setText } from "./dom.mjs";
import { bestForm, pickPanel, refusalBox } from "./view-choice.mjs";
import { countdown, spokenSeconds } from "./clock.mjs";
import { t } from "./i18n.mjs";
import { legend, zoneChips } from "./legend.mjs";
import { leaveButton } from "./view-line.mjs";
import { SeatMap } from "./seatmap.mjs";

/** The part of the screen that one bar which stays in sight, or both, may take; the map needs the rest. */
const BAR_MAX = 0.3;
const BARS_MAX = 0.5;

export function turnView(ctx) {
  const bar = turnBar(ctx);
  const modes = modeSwitch(ctx);
  const refusal = refusalBox();
  const pick = pickPanel(ctx);
  const best = bestForm(ctx);
  const stage = mapCard(ctx);
  const root = el("section", { class: "screen turn" },
    el("h1", { class: "turn-title" }, t("granted_title")), bar.root,
    el("div", { class: "turn-grid" },
      stage.root,
      el("aside", { class: "panel" }, modes.root, refusal.root, best.root, pick.root,
        el("div", { class: "line-tools" }, leaveButton(ctx, "giveup")))));
  ctx.say(t("turn_alert"), true);
  const bars = [bar.root, pick.root];
  const measure = () => {
    const [timeBar, pickBar] = bars.map((node) => node.offsetHeight / document.documentElement.clientHeight);
    setAttr(root, "data-cramped", timeBar > BAR_MAX || timeBar + pickBar > BARS_MAX ? "yes" : null);
  };
  const observer = new ResizeObserver(measure);
  for (const node of [document.documentElement, ...bars]) observer.observe(node);

  return {
    root,
    update(state, at) {
      setAttr(root, "data-mode", state.choice.mode);
      modes.update(state);
      bar.update(state, at);
      stage.update(state);
      refusal.update(state);
      pick.update(state, at);
      best.update(state, at);
    },
    keep: stage.keep,
    destroy: () => {
      observer.disconnect();
      stage.destroy();
    },
  };
}

function turnBar(ctx) {
  const time = el("strong", { class: "time", role: "timer", test: "turn-left" });
  const over = el("p", { class: "turn-over", role: "status", hidden: true });
  const claimText = el("span", { test: "claim-left" });
  const claim = el("p", { class: "claim", test: "claim", hidden: true }, claimText,
    button(t("turn_claim_button"), { class: "button primary small", test: "claim-button" }, () => ctx.do.claim()));
  const promise = el("p", { class: "turn-promise", role: "status", test: "turn-promise" });
  const root = el("div", { class: "turn-bar", test: "turn-bar" },
    el("p", { class: "turn-time" }, el("span", { class: "time-label" }, t("turn_left")), time),
    promise, claim, over);
  let spokenMs = Infinity;
  return {
    root,
    update({ grant, phase, link, outageSince }, now) {
      // An outage is added to the deadline when it is over: until then the time stands still. Who is cut off does not know of it.
      const at = link.status === "live" ? Math.min(now, outageSince ?? now) : now;
      const left = grant.expiresAt - at;
      setText(time, countdown(left));
      setAttr(root, "data-urgent", left < 30_000 ? "now" : left < 60_000 ? "soon" : null);
      setHidden(over, left > 0 || outageSince !== null);
      setText(over, t(link.status === "live" && navigator.onLine ? "turn_over" : "turn_over_cut"));
      setHidden(promise, left <= 0);
      const gone = phase === "sold_out" || phase === "all_held";
      setText(promise, t(gone ? `turn_${phase}` : "turn_no_promise"));
      setAttr(promise, "data-gone", gone ? phase : null);
      const claimLeft = grant.claimed || grant.claimAt === null ? null : grant.claimAt - at;
      setHidden(claim, claimLeft === null);
      if (claimLeft !== null) setText(claimText, t("turn_claim", { time: countdown(claimLeft) }));
      const spoken = spokenSeconds(spokenMs, left);
      if (spoken !== null) ctx.say(t("spoken_left", { seconds: spoken }), spoken <= 60);
      spokenMs = left;
    },
  };
}

function modeSwitch(ctx) {
  const buttons = ["pick", "best"].map((mode) =>
    button(t(`mode_${mode}`), { class: "mode", "data-mode": mode, test: `mode-${mode}` }, () => ctx.do.choose({ mode })));
  return {
    root: el("div", { class: "modes", role: "group", "aria-label": t("mode_label") }, ...buttons),
    update: ({ choice }) => {
      for (const node of buttons) setAttr(node, "aria-pressed", String(node.dataset.mode === choice.mode));
    },
  };
}

function mapCard(ctx) {
  const status = el("p", { class: "map-status", role: "status" });
  const place = el("div", { class: "map-place" });
  const keys = el("p", { class: "map-hint", id: "map-keys" });
  const root = el("section", { class: "map-card", "aria-label": t("map_label") }, status, place, keys);
  const touch = matchMedia("(pointer: coarse)").matches;
  setText(keys, t(touch ? "map_hint_touch" : "map_keys"));
  let map = null;
  let parts = [];
  return {
    root,
    update(state) {
      const ready = state.plan !== null && state.map !== null;
      if (ready && map === null) {
        map = new SeatMap(state.plan, (guid) => ctx.do.toggle(guid));
        parts = [legend(map, state.plan), zoneChips(map, state.plan)];
        place.replaceChildren(map.root, parts[1].root, parts[0].root);
        if (ctx.kept) map.zoom.restore(ctx.kept);
      }
      const live = state.link.status === "live" && state.map?.version !== null && !state.map?.gap;
      const word = ready ? (live ? "" : t("map_stale")) : t(state.planFailed ? "map_failed" : "map_loading");
      setText(status, word);
      setHidden(status, word === "");
      setHidden(keys, !ready);
      if (!ready) return;
      map.update(state);
      for (const part of parts) part.update(state);
    },
    keep: () => map?.zoom.keep() ?? null,
    destroy: () => map?.destroy(),
  };
}
