// The proof of one's place: a file that the visitor keeps, and holds against the sale's journal later.

import { button, el, setDisabled, setHidden, setText } from "./dom.mjs";
import { t } from "./i18n.mjs";

/** The journal is about a second behind the line. */
const RETRY_MS = 2_000;
const TRIES = 15;

/** Asks until the journal has got to the place. → the receipt, or null where there is none to be had */
async function fetchReceipt(api, place, pause) {
  for (let left = TRIES; left > 0; left--) {
    const answer = await fetch(`${api}/places/me/receipt`, { headers: { accept: "application/json", ...(place ? { authorization: `Bearer ${place}` } : {}) } });
    if (answer.status !== 202) return answer.ok ? answer.json() : null;
    await pause(RETRY_MS);
  }
  return null;
}

/** Whether there was a proof of the place to save. */
export async function saveProof(api, place, pause) {
  try {
    const receipt = await fetchReceipt(api, place, pause);
    if (receipt) saveReceipt(receipt);
    return receipt !== null;
  } catch {
    return false; // Offline, or cut off: the visitor is told, and may try again.
  }
}

/** Gives the browser a file to save. */
function saveReceipt(receipt) {
  const href = URL.createObjectURL(new Blob([`${JSON.stringify(receipt, null, 2)}\n`], { type: "application/json" }));
  const link = el("a", { href, download: `waitroom-${receipt.sale}-${receipt.seq}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser may not have read it yet.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** A quiet button, and beside it how far it has come. */
export function proofTool(ctx) {
  const said = el("p", { class: "quiet", role: "status", test: "proof-said", hidden: true });
  const say = (word) => {
    setText(said, t(word));
    setHidden(said, false);
  };
  const root = el("div", { class: "proof-tool" }, button(t("proof"), { class: "button plain", test: "proof" }, async ({ currentTarget }) => {
    setDisabled(currentTarget, true);
    say("proof_moment");
    say((await ctx.do.saveReceipt()) ? "proof_saved" : "proof_failed");
    setDisabled(currentTarget, false);
  }), said);
  return { root };
}
