// Screens that are a few words and a button or two: every end, and every "not here".

import { button, el, setDisabled, setHidden, setText } from "./dom.mjs";
import { seatsWords, t } from "./i18n.mjs";
import { proofTool } from "./receipt.mjs";

export function messageView(ctx) {
  const { screen, state } = ctx;
  const name = screen === "lapsed" ? state.lapsed.reason : screen;
  const make = SCREENS[name] ?? SCREENS.loading;
  const { tone = "plain", actions = [], extra = [] } = make(ctx);
  const loading = name === "loading";
  const text = el("p", { class: "message-text", ...(loading ? { role: "status", test: "loading-text" } : {}) }, t(`${name}_text`));
  const list = bookingList();
  const root = el("section", { class: "screen message", "data-tone": tone, test: `screen-${name}` },
    el("h1", { class: "message-title" }, t(loading && !state.hadPlace ? "joining_title" : `${name}_title`)),
    text, ...extra.map(({ root: node }) => node),
    el("div", { class: "actions" }, ...actions.map(({ root: node }) => node)),
    list.root);
  if (loading || name === "granted") root.prepend(el("span", { class: "spinner", "aria-hidden": "true" }));
  return {
    root,
    update(next) {
      for (const part of [...actions, ...extra]) part.update?.(next);
      if (loading) setText(text, t(next.link.why === "work" ? "working_text" : "loading_text"));
      setHidden(list.root, next.bookings.length === 0 || loading || name === "granted");
      list.update(next);
    },
  };
}

const SCREENS = {
  loading: () => ({}),
  /** Until the script of the turn is there. */
  granted: () => ({}),
  elsewhere: ({ do: commands }) => {
    const stayed = el("p", { class: "quiet", role: "status", tabindex: "-1", hidden: true }, t("elsewhere_stayed"));
    const stay = action("elsewhere_stay", "button", "stay", commands.stayElsewhere);
    return {
      actions: [action("use_here", "button primary", "use-here", commands.useHere), stay],
      extra: [{
        root: stayed,
        update: ({ elsewhere }) => {
          setHidden(stayed, elsewhere !== "stay");
          setHidden(stay.root, elsewhere === "stay");
        },
      }],
    };
  },
  replaced: ({ do: commands }) => ({ actions: [action("use_here", "button primary", "use-here", commands.useHere)] }),
  identity: ({ do: commands, state }) => {
    const stale = commands.hasPlace() && !state.clock;
    return {
      tone: "warn",
      extra: stale ? [{ root: el("p", { class: "message-text" }, t("identity_stale")) }] : [],
      actions: stale
        ? [action("identity_anew", "button primary", "start-anew", commands.startAnew), toSales()]
        : [action("reload", "button", "reload", commands.reload), toSales()],
    };
  },
  other: ({ do: commands }) => ({
    tone: "warn",
    actions: [action("other_keep", "button primary", "keep-place", commands.keepPlace), action("other_link", "button", "use-link", commands.useLink)],
  }),
  limit: () => ({ actions: [toSales()] }),
  removed: () => ({ tone: "warn", actions: [toSales()] }),
  broken: ({ do: commands }) => ({ tone: "warn", actions: [action("reload", "button primary", "reload", commands.reload)] }),
  unknown: () => ({ actions: [toSales()] }),
  closed: (ctx) => ({ actions: [toSales(), ...proof(ctx)] }),
  missed: ({ do: commands }) => ({ tone: "warn", actions: [rejoinAction("missed_button", commands)] }),
  expired: (ctx) => ({ tone: "warn", actions: [rejoinAction("rejoin", ctx.do), ...proof(ctx)] }),
  left: ({ do: commands }) => ({ actions: [rejoinAction("rejoin", commands), toSales()] }),
};

function action(label, kind, test, run) {
  return { root: button(t(label), { class: kind, test }, run) };
}

function rejoinAction(label, commands) {
  const { root } = action(label, "button primary", "rejoin", commands.rejoin);
  return {
    root,
    update: ({ lapsed }) => {
      setDisabled(root, lapsed?.busy === true);
      setText(root, t(lapsed?.busy ? "rejoin_busy" : label));
    },
  };
}

/** Whoever had a place can prove it after its end too. */
function proof(ctx) {
  return ctx.do.hasPlace() ? [proofTool(ctx)] : [];
}

function toSales() {
  return { root: el("a", { class: "button", href: "../" }, t("to_sales")) };
}

/** What this browser saw of the visitor's bookings; nobody should doubt them after a lost turn. */
export function bookingList() {
  const items = el("ul", { class: "booking-list" });
  const root = el("section", { class: "bookings", test: "bookings", hidden: true }, el("h2", {}, t("bookings_earlier")), items);
  let shown = null;
  return {
    root,
    update({ bookings, plan }, except = null) {
      const others = bookings.filter(({ id }) => id !== except);
      const key = JSON.stringify([others, plan !== null]);
      if (key === shown) return;
      shown = key;
      items.replaceChildren(...others.map(({ seats, status }) => el("li", { "data-status": status },
        el("span", {}, seatsWords(plan, seats)), el("span", { class: "tag" }, t(`booking_status_${status}`)))));
    },
  };
}
