// The few DOM helpers that the views share. No markup strings anywhere: all text goes through
// textContent, so nothing that an operator or a plan contains can become markup, and the strict
// CSP (no inline style) holds.

const SVG = "http://www.w3.org/2000/svg";

/** `el("button", { class: "primary", test: "leave", on: { click } }, "text", child…)` */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "test") {
      node.setAttribute("data-test", value);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Writes only what changed: screen readers repeat a live region at every write. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Whoever stood in what goes away stands in its surroundings then: a keyboard must not lose its place. */
export function setHidden(node, hidden) {
  if (node.hidden === hidden) return;
  const focused = hidden && node.contains(document.activeElement);
  node.hidden = hidden;
  if (!focused) return;
  const home = node.parentElement.closest("section, main");
  home.setAttribute("tabindex", "-1");
  home.focus({ preventScroll: true });
}

export function setAttr(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** One that `setDisabled` disables keeps the focus: a keyboard must not lose its place. */
export function button(label, props, click) {
  const listen = (event) => { if (event.currentTarget.getAttribute("aria-disabled") !== "true") click(event); };
  return el("button", { type: "button", ...props, on: { click: listen } }, label);
}

export function setDisabled(node, disabled) {
  setAttr(node, "aria-disabled", disabled ? "true" : null);
}

/** The part of a question that its buttons may take and stay in sight. */
const ACTIONS_MAX = 0.4;

/**
 * A modal question; resolves to true only when the visitor says yes. `list`: what it is about, item
 * by item; `kind`: whether a yes takes something away or goes on.
 */
export function ask({ title, text, yes, no, test, list = [], kind = "danger" }) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "ask", test, "aria-labelledby": "ask-title", "aria-describedby": "ask-text" },
      el("h2", { id: "ask-title" }, title),
      list.length > 0 && el("ul", { class: "ask-list" }, ...list.map((item) => el("li", {}, item))),
      el("p", { id: "ask-text" }, text),
      el("div", { class: "actions" },
        button(no, { class: "button", test: "ask-no", autofocus: true }, () => dialog.close("no")),
        button(yes, { class: `button ${kind}`, test: "ask-yes" }, () => dialog.close("yes"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    // Large text on a small screen: buttons that stay in sight would cover what is asked.
    const actions = dialog.lastElementChild;
    setAttr(dialog, "data-cramped", actions.offsetHeight > dialog.clientHeight * ACTIONS_MAX ? "yes" : null);
  });
}

/** What was asked is no longer the question. */
export function takeBackQuestion() {
  document.querySelector("dialog.ask")?.close("no");
}
