// Durations in words and digits, and the server's clock. Deadlines run on performance.now():
// the visitor's wall clock may be wrong or be changed.

/** The server's clock as of a message's `now`, carried on by the monotonic clock. */
export function serverClock(nowText, at) {
  const wall = Date.parse(nowText);
  return Number.isNaN(wall) ? null : { wall, at };
}

export function serverTime(clock, at) {
  return clock ? clock.wall + (at - clock.at) : null;
}

/** 65_000 → "1:05"; 3_700_000 → "1:01:40". Rounded up, so that 0:00 means over. */
export function countdown(ms) {
  const total = Math.max(0, Math.ceil(ms / 1000));
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const seconds = String(total % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

export function splitDays(ms) {
  const total = Math.max(0, Math.ceil(ms / 1000));
  return { days: Math.floor(total / 86400), clock: countdown((total % 86400) * 1000) };
}

/**
 * `[low, high]` seconds as what a person can use. The low end is rounded down and the high end up,
 * so rounding never promises more than the server did.
 * → { unit: "moment" } | { unit: "minutes" | "hours", low, high }
 */
export function etaRange([low, high]) {
  if (high <= 60) return { unit: "moment" };
  const step = high > 40 * 60 ? 5 : 1;
  const minutes = (seconds, round) => round(seconds / 60 / step) * step;
  const from = minutes(low, Math.floor);
  const to = minutes(high, Math.ceil);
  if (to <= 120) return { unit: "minutes", low: from, high: to };
  const half = (value, round) => round(value / 30) / 2;
  return { unit: "hours", low: half(from, Math.floor), high: half(to, Math.ceil) };
}

/**
 * The seconds left, when it is time to speak them (a timer read out every second would drown
 * everything else); else null. Never the mark itself: a tab in the background may have slept past
 * several.
 */
export function spokenSeconds(beforeMs, nowMs, marks = [300, 120, 60, 30, 10]) {
  const passed = marks.some((mark) => beforeMs > mark * 1000 && nowMs <= mark * 1000);
  return passed && nowMs > 0 ? Math.ceil(nowMs / 1000) : null;
}
