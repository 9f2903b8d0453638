// When to come back after a close: the contract's table, and the jitter that keeps a hundred
// thousand browsers from coming back in the same second.

/** Ends that no reconnect mends, by close code → the word that the page shows. */
const FINAL = new Map([
  [1009, "broken"],
  [4400, "broken"],
  [4401, "identity"],
  [4403, "limit"],
  [4409, "replaced"],
  [4410, "closed"],
]);

/** Some proxies swallow close codes; the `error` frame before the close says the same. */
const CODE_OF_ERROR = new Map([
  ["bad_message", 4400],
  ["identity_invalid", 4401],
  ["limit_reached", 4403],
  ["removed", 4403],
  ["join_timeout", 4408],
  ["replaced", 4409],
  ["sale_closed", 4410],
  ["too_many", 4429],
  ["proof_needed", 4429],
  ["unavailable", 4503],
]);

const FIRST_MS = 2_000;
const LONGEST_MS = 30_000;
const SLOWER_MS = 10_000;
/** Told to come in many minutes: it may go on sooner all the same, as when the sale asks for an identity. */
const ASKED_LONGEST_MS = 60_000;

/** → { stop: word } or { pace: "drain" | "slower" | "normal", why }. `error`: the message before the close, if one came. */
export function verdict(closeCode, error = null) {
  const swallowed = closeCode === 1005 || closeCode === 1006 || closeCode === 1000;
  const code = swallowed ? (CODE_OF_ERROR.get(error?.code) ?? closeCode) : closeCode;
  // Two ends share a code.
  if (code === 4403 && error?.code === "removed") return { stop: "removed" };
  if (FINAL.has(code)) return { stop: FINAL.get(code) };
  if (code === 1001 || code === 1012) return { pace: "drain", why: "drain" };
  // A network that has drawn all the places that it may is told when it goes on.
  if (code === 4429) return { pace: "slower", why: error?.after_ms === undefined ? "busy" : "network" };
  if (code === 4503) return { pace: "normal", why: "unavailable" };
  return { pace: "normal", why: "cut" };
}

/** Full jitter over a span that doubles with each failed attempt. */
export function delayMs({ pace, attempt, afterMs = null, random = Math.random }) {
  // The server spreads a drain itself; a little jitter covers equal delays.
  if (pace === "drain" && afterMs !== null) return afterMs + random() * 500;
  const span = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  if (pace === "slower" && afterMs !== null) return Math.min(afterMs, ASKED_LONGEST_MS) + random() * SLOWER_MS;
  if (pace === "slower") return SLOWER_MS + random() * (span + SLOWER_MS);
  return 250 + random() * span;
}
