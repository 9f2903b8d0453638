// Drawing attention to the turn without sound: the tab's title, a short vibration, and a silent
// notification where the visitor asked for one.

import { t } from "./i18n.mjs";

let flashing = null;
let plainTitle = "";

/** `alert` null: just the title; else the two alternate while the tab is in the background. */
export function setTitle(title, alert = null) {
  plainTitle = title;
  clearInterval(flashing);
  flashing = null;
  document.title = alert ? `● ${alert}` : title;
  if (!alert || document.visibilityState === "visible") return;
  let on = true;
  flashing = setInterval(() => {
    on = !on;
    document.title = on ? `● ${alert}` : plainTitle;
  }, 1_000);
}

export function announceTurn(saleName) {
  // Browsers allow it only after a touch, and complain in the console otherwise.
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.([250, 120, 250]);
  if (document.visibilityState === "visible" || alertsState() !== "granted") return;
  try {
    const note = new Notification(t("turn_alert"), { body: saleName, silent: true, tag: "waitroom-turn", requireInteraction: true });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch {
    // The browser changed its mind; the title says it all the same.
  }
}

let constructible = null;

/** Whether the browser would let this page notify: some have the word for it and then throw. */
function alertsPossible() {
  if (!("Notification" in window) || !window.isSecureContext) return false;
  // Chrome on Android lets only service workers notify. Trying would show one where it is allowed.
  if (Notification.permission === "granted") return !/Android/.test(navigator.userAgent);
  constructible ??= tryNotification();
  return constructible;
}

function tryNotification() {
  try {
    new Notification("");
    return true;
  } catch {
    return false;
  }
}

/** "impossible" | "default" | "granted" | "denied" */
export function alertsState() {
  return alertsPossible() ? Notification.permission : "impossible";
}

export async function askForAlerts() {
  await Notification.requestPermission();
}
