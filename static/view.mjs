// The frame around every screen: sale name, connection, language, banners, live region; and which
// screen is shown. A screen's DOM is built once and then updated in place, so that focus, scroll
// and a half-made choice survive every message.

import { button, el, setAttr, setHidden, setText, takeBackQuestion } from "./dom.mjs";
import { currentLanguage, number, setLanguage, t } from "./i18n.mjs";
import { isNext, keptWhile, screenOf } from "./state.mjs";
import { bookingView } from "./view-booking.mjs";
import { lineView } from "./view-line.mjs";
import { messageView } from "./view-message.mjs";

const VIEWS = { waiting: lineView, held: bookingView, booked: bookingView, released: bookingView };
/** Where an outage changes what the visitor may hope for. */
const OUTAGE_SCREENS = ["waiting", "granted", "held"];
/** A short cut mends itself before anyone needs to read about it. */
const STALE_AFTER_MS = 2_500;
/** A rank is read out at most this often; a listener cannot skip. */
const SPEAK_RANK_EVERY_MS = 20_000;
/** What was said may be untrue soon: it does not stay for who reads on. */
const SPOKEN_FOR_MS = 5_000;

export class Frame {
  constructor(root, commands, { lasting }) {
    this.root = root;
    this.commands = commands;
    this.lasting = lasting;
    /** turn.mjs, once it is loaded. */
    this.turn = null;
    this.view = null;
    this.key = null;
    this.spoken = null;
    this.spokenAt = -Infinity;
    /** What a screen that is built anew goes on from. */
    this.kept = null;
    this.#build();
  }

  #build() {
    document.documentElement.lang = currentLanguage();
    this.name = el("p", { class: "sale-name", test: "sale-name" });
    this.link = el("span", { class: "link", test: "link" }, el("span", { class: "dot", "aria-hidden": "true" }), el("span", { class: "link-word" }));
    const other = currentLanguage() === "ko" ? "en" : "ko";
    const language = button(other === "ko" ? "한국어" : "English", { class: "language", lang: other, test: "language" }, () => {
      setLanguage(other);
      this.rebuild();
    });
    this.stale = el("p", { class: "banner stale", role: "status", test: "stale", hidden: true });
    this.outage = el("p", { class: "banner stale", role: "status", test: "outage", hidden: true });
    this.noticeText = el("span", {});
    this.notice = el("p", { class: "banner notice", role: "status", test: "notice", hidden: true },
      el("strong", {}, t("notice_label")), this.noticeText);
    this.storage = el("p", { class: "banner stale", hidden: this.lasting }, t("storage_off"));
    this.polite = el("p", { class: "spoken", "aria-live": "polite", test: "spoken" });
    this.urgent = el("p", { class: "spoken", "aria-live": "assertive" });
    this.main = el("main", { id: "main" });
    this.root.replaceChildren(
      el("header", { class: "top" }, this.name, el("div", { class: "top-tools" }, this.link, language)),
      this.stale, this.outage, this.notice, this.storage, this.main, this.polite, this.urgent,
      el("footer", { class: "foot" }, el("span", {}, t("footer")), el("a", { href: "../" }, t("to_sales"))));
  }

  /** After a change of language every word is new. */
  rebuild() {
    this.kept = this.view?.keep?.() ?? null;
    this.view?.destroy?.();
    this.view = null;
    this.key = null;
    this.#build();
    this.update(this.state, performance.now());
    this.root.querySelector(".language").focus(); // Pressed just now, and replaced.
  }

  update(state, at) {
    this.state = state;
    const screen = screenOf(state);
    this.#frame(state, screen, at);
    const make = screen === "granted" ? this.turn?.turnView : VIEWS[screen];
    const key = make ? make.name : `${screen} ${state.lapsed?.reason ?? ""}`;
    if (key !== this.key) this.#show(key, make ?? messageView, screen, state);
    this.view.update(state, at);
    this.#speakRank(state, screen, at);
  }

  #show(key, make, screen, state) {
    const first = this.key === null;
    this.view?.destroy?.();
    takeBackQuestion();
    this.key = key;
    // What was said of the screen before is not so here.
    [this.polite, this.urgent].forEach((node) => setText(node, ""));
    this.view = make({ do: this.commands, say: (text, urgent) => this.say(text, urgent), lasting: this.lasting, screen, state, kept: this.kept });
    this.kept = null;
    this.main.replaceChildren(this.view.root);
    if (first) return;
    // The old screen's focus is gone with it: keyboards and screen readers go on at the new heading.
    const heading = this.view.root.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  #frame(state, screen, at) {
    const { body } = document;
    setAttr(body, "data-state", screen);
    setAttr(body, "data-phase", state.phase ?? "");
    setAttr(body, "data-link", state.link.status);
    setAttr(body, "data-lapsed", state.lapsed?.reason ?? null);
    setText(this.name, state.sale?.name ?? "");
    this.#showLink(state, at);
    const outage = state.outageSince !== null && state.link.status === "live" && OUTAGE_SCREENS.includes(screen);
    setHidden(this.outage, !outage);
    setText(this.outage, outage ? t(`outage_${screen}`) : "");
    setHidden(this.notice, state.notice === "");
    setText(this.noticeText, state.notice);
  }

  #showLink(state, at) {
    const { outageSince, link: { status, via, since, cuts, why } } = state;
    const offline = navigator.onLine === false;
    const live = outageSince !== null ? "halted" : via === "polls" ? "polls" : "live";
    const word = offline ? "off" : status === "live" ? live : status;
    setText(this.link.lastChild, t(`link_${word}`));
    setAttr(this.link, "data-link", word);
    setHidden(this.link, status === "idle");
    const cut = status === "cut" || (status === "connecting" && cuts > 0);
    const long = cut && (at - since > STALE_AFTER_MS || cuts > 1);
    setHidden(this.stale, !(long || (offline && status !== "idle")));
    if (cut && !offline && status !== "cut") return; // While a try is running keep the words of the cut before it.
    const reason = offline ? "offline" : ["busy", "network", "unavailable", "drain"].includes(why) ? why : state.clock ? "stale" : "failed";
    const kept = keptWhile(state, at);
    setText(this.stale, [t(`link_${reason}`), kept && t(`kept_${kept}`)].filter(Boolean).join(" "));
  }

  say(text, urgent = false) {
    const node = urgent ? this.urgent : this.polite;
    setText(node, text);
    clearTimeout(node.wiping);
    node.wiping = setTimeout(() => setText(node, ""), SPOKEN_FOR_MS);
  }

  #speakRank(state, screen, at) {
    if (screen !== "waiting" || !state.place) return;
    const { rank } = state.place;
    const words = isNext(state) ? t("next") : rank === 0 ? t("ahead_none") : t("ahead", { count: number(rank) });
    if (words === this.spoken || (rank > 5 && at - this.spokenAt < SPEAK_RANK_EVERY_MS)) return;
    this.spoken = words;
    this.spokenAt = at;
    this.say(words);
  }
}
