// The list of sales at `/`.

import { button, el } from "./dom.mjs";
import { chooseLanguage, currentLanguage, dateTime, number, setLanguage, t } from "./i18n.mjs";

const REFRESH_MS = 10_000;
const RETRY_MS = 4_000;

const root = document.getElementById("sales");
let sales = null;
let failed = false;

function show() {
  document.documentElement.lang = currentLanguage();
  document.title = t("sales_title");
  const other = currentLanguage() === "ko" ? "en" : "ko";
  const language = button(other === "ko" ? "한국어" : "English", { class: "language", lang: other, test: "language" }, () => {
    setLanguage(other);
    show();
    root.querySelector(".language").focus(); // Pressed just now, and replaced.
  });
  const word = failed ? t("sales_failed") : sales?.length === 0 ? t("sales_none") : "";
  root.replaceChildren(
    el("header", { class: "top" }, el("p", { class: "sale-name" }, "waitroom"), el("div", { class: "top-tools" }, language)),
    el("main", { id: "main" },
      el("section", { class: "screen" },
        el("h1", { class: "screen-title" }, t("sales_title")),
        word && el("p", { class: "quiet", role: "status" }, word),
        el("ul", { class: "sales" }, ...(sales ?? []).map(card)))));
  document.body.dataset.state = sales ? "listed" : failed ? "failed" : "loading";
}

function card(sale) {
  const scheduled = sale.phase === "scheduled" && sale.opens_at;
  const facts = [
    scheduled && t("sales_opens", { at: dateTime(sale.opens_at) }),
    sale.phase !== "closed" && t("sales_left", { left: number(sale.seats_left), seats: number(sale.seats) }),
    sale.waiting > 0 && sale.phase !== "closed" && t("sales_waiting", { count: number(sale.waiting) }),
  ].filter(Boolean);
  return el("li", {},
    el("a", { class: "sale", href: `sales/${encodeURIComponent(sale.id)}`, "data-sale": sale.id },
      el("span", { class: "sale-title" }, sale.name),
      el("span", { class: "tag", "data-phase": sale.phase }, t(`phase_${sale.phase}`)),
      el("span", { class: "sale-facts" }, facts.join(" · "))));
}

async function load() {
  try {
    const answer = await fetch("v1/sales", { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const next = (await answer.json()).sales;
    const changed = failed || JSON.stringify(next) !== JSON.stringify(sales);
    [sales, failed] = [next, false];
    if (changed) refresh();
  } catch {
    failed = true;
    refresh();
  }
  setTimeout(load, failed ? RETRY_MS : REFRESH_MS);
}

/** A redraw must not take the keyboard's place in the list away. */
function refresh() {
  const { activeElement: focused } = document;
  const again = focused?.dataset.sale ? `[data-sale="${focused.dataset.sale}"]` : focused?.matches(".language") ? ".language" : null;
  show();
  if (again) root.querySelector(again)?.focus();
}

chooseLanguage();
show();
load();
