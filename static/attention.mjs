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
    // Chrome on Android lets only service workers do this.
  }
}

export function alertsPossible() {
  return "Notification" in window && window.isSecureContext;
}

export function alertsState() {
  return alertsPossible() ? Notification.permission : "default";
}

export async function askForAlerts() {
  await Notification.requestPermission();
}
