"""Whether the colour that serves now is worse than the other was."""

import time

# What must not rise: a store that fails, a task that broke down, a rank that Redis contradicted, a stream that is not the journal's.
FAULTS = ["waitroom_join_errors_total", "waitroom_store_errors_total", "waitroom_task_restarts_total",
          "waitroom_rank_audit_failures_total", "waitroom_journal_forks_total"]
DURATIONS = ["waitroom_join_duration_seconds", "waitroom_redeem_duration_seconds"]


class Watch:
    """Says when a colour that serves is worse than the other was before it."""

    def __init__(self, settings, nginx, colour, before):
        self.limits, self.nginx, self.colour, self.before = settings.limits, nginx, colour, before
        self.samples, self.missed = [], 0

    def lasts(self, seconds, over=lambda: False):
        """Watches for so long, or until it is over: why it is worse, or none."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not over():
            if why := self.verdict():
                return why
            time.sleep(0.5)
        return None

    def verdict(self):
        trouble = self.colour.trouble() or self.nginx.trouble()
        now = {} if trouble else self.colour.metrics()
        self.missed = 0 if now else self.missed + 1
        if not now:
            return (trouble or "its metrics cannot be read") if self.missed >= self.limits["misses"] else None
        # Against ten seconds ago.
        self.samples = self.samples[-20:] + [now]
        if now.get("process_start_time_seconds") != self.samples[0].get("process_start_time_seconds"):
            return "it died, and was started again"
        return worse(rates(self.samples[0], now), self.before, self.limits)


def rates(first, last):
    """Between two looks: how many faults there were, and of what visitors waited for the share that took over a second."""
    def rise(key):
        return max(0.0, last.get(key, 0.0) - first.get(key, 0.0))
    found = {name: rise(name) for name in FAULTS}
    for name in DURATIONS:
        count = rise(f"{name}_count")
        # A share of a few says nothing.
        found[name] = 1 - rise((f"{name}_bucket", 1.0)) / count if count >= 20 else 0.0
    return found


def worse(now, before, limits):
    for name, value in now.items():
        least = limits["slow_share"] if name in DURATIONS else limits["faults"]
        if value > max(least, limits["factor"] * before.get(name, 0.0)):
            unit = "of them over 1 s" if name in DURATIONS else "more"
            return f"{name}: {value:.3g} {unit}, {before.get(name, 0.0):.3g} before"
    return None
