#!/usr/bin/env python3
"""When instances come too early or too late: autoscalers against crowds as they were recorded (docs/autoscaling.md).

Seconds of a day are played one by one. A visitor comes, is let in if an instance has room for him, else tries again every few
seconds; he stays for a while. An autoscaler looks at the load as late as it is told of it, and gets instances as late as they start.
"""

import collections
import csv
import math
import os
from dataclasses import dataclass

DATA = os.path.join(os.path.dirname(__file__), "..", "..", "data")

# What one instance carries: docs/autoscaling.md says where these are from.
SOCKETS = 15_000
JOINS_A_SECOND = 5_000
# Of one core, in seconds: a join; a waiting visitor for a second (a rank every 5 s).
CPU_A_JOIN = 61e-6
CPU_A_WAITER = 27e-6 / 5
STAY_S = 15 * 60
PEAK_A_MINUTE = 30_000
LEAST, MOST = 2, 40


def crowd(day):
    """Visitors who come in each second."""
    with open(os.path.join(DATA, f"worldcup98-1998-{day}.csv"), encoding="ascii") as file:
        minutes = [int(row["requests"]) for row in csv.DictReader(file)]
    highest = max(minutes)
    return [count / highest * PEAK_A_MINUTE / 60 for count in minutes for _ in range(60)]


@dataclass
class Instant:
    """What can be measured in a second."""
    inside: float
    joins: float
    instances: int

    def load(self):
        """The signal: how full the instances are, on average. Who was refused is not in it: it is 1 at most."""
        return self.inside / (self.instances * SOCKETS)

    def cpu(self):
        return (self.joins * CPU_A_JOIN + self.inside * CPU_A_WAITER) / self.instances


@dataclass
class Autoscaler:
    """Target tracking: so many instances that the signal would be at the target."""
    name: str
    target: float
    every_s: int          # it decides so often
    late_s: int           # what it is told is so old
    high: int = 1         # so many readings in a row must be high before it adds
    growth: float = 2.0   # at most so many times as many instances at once
    boot_s: int = 30      # until a new instance takes visitors
    calm_s: int = 600     # it takes one away after so long without need
    by_cpu: bool = False
    ahead: tuple = ()     # (from second, to second, instances): what is known of the opening

    def wants(self, told, now, running, asked):
        """How many there should be."""
        reading = (lambda i: i.cpu()) if self.by_cpu else (lambda i: i.load())
        seen = [told[-1 - i * self.every_s] for i in range(self.high) if len(told) > i * self.every_s]
        wanted = max(running, asked)
        if seen and all(reading(instant) > self.target for instant in seen):
            need = math.ceil(reading(seen[0]) * seen[0].instances / self.target)
            wanted = max(wanted, min(need, math.ceil(max(running, asked) * self.growth)))
        quiet = list(told)[-self.calm_s::self.every_s]
        if len(told) >= self.calm_s and all(reading(i) * i.instances / self.target <= running - 1 for i in quiet):
            wanted = min(wanted, running - 1)
        floor = max([LEAST] + [count for begin, end, count in self.ahead if begin <= now < end])
        return min(MOST, max(floor, wanted))


def play(scaler, arrivals):
    running, coming, inside, outside = LEAST, [], 0.0, 0.0
    told, late = collections.deque(maxlen=scaler.calm_s + 1), collections.deque()
    lost_s = instance_s = worst = 0.0
    since, delayed = None, 0.0
    for now, newcomers in enumerate(arrivals):
        running += sum(1 for at in coming if at <= now)
        coming = [at for at in coming if at > now]
        inside -= inside / STAY_S
        outside += newcomers
        joins = min(outside, max(0.0, running * SOCKETS - inside), running * JOINS_A_SECOND)
        inside, outside = inside + joins, outside - joins
        delayed += max(0.0, newcomers - joins)
        lost_s += outside
        since = (since if since is not None else now) if outside > 1 else None
        worst = max(worst, now - since if since is not None else 0)
        instance_s += running + len(coming)
        late.append(Instant(inside, joins, running))
        if len(late) > scaler.late_s:
            told.append(late.popleft())
        if now % scaler.every_s == 0 and told:
            asked = running + len(coming)
            wanted = scaler.wants(told, now, running, asked)
            coming += [now + scaler.boot_s] * max(0, wanted - asked)
            if wanted < running and not coming:
                running -= 1
                told.clear()
    return {"hours": instance_s / 3600, "outside": lost_s / 60, "worst": worst, "late": delayed / sum(arrivals)}


def perfect(arrivals):
    """Instance hours of who knows the future, to the second."""
    inside = total = 0.0
    for newcomers in arrivals:
        inside += newcomers - inside / STAY_S
        total += max(LEAST, math.ceil(max(inside / SOCKETS, newcomers / JOINS_A_SECOND)))
    return total / 3600


def scalers(opening, peak):
    ahead = ((opening - 300, opening + 1800, peak),)
    for target in (0.85, 0.7, 0.5, 0.3):
        yield Autoscaler(f"signal {target:.2f}, every 15 s, 30 s to start", target, 15, 15)
    yield Autoscaler("signal 0.50, every 15 s, 120 s to start", 0.5, 15, 15, boot_s=120)
    yield Autoscaler("signal 0.50, three minutes' readings (AWS), 120 s to start", 0.5, 60, 60, high=3, growth=10, boot_s=120)
    yield Autoscaler("CPU 0.50, every 15 s, 30 s to start", 0.5, 15, 15, by_cpu=True)
    yield Autoscaler("CPU 0.10, every 15 s, 30 s to start", 0.1, 15, 15, by_cpu=True)
    yield Autoscaler("signal 0.50, every 15 s, 30 s to start; peak ready 5 min before", 0.5, 15, 15, ahead=ahead)
    yield Autoscaler("signal 0.50 (AWS), 120 s to start; peak ready 5 min before", 0.5, 60, 60, high=3, growth=10, boot_s=120, ahead=ahead)
    yield Autoscaler("nobody: the peak's instances, all day", 1.0, 15, 15, ahead=((0, 1 << 30, peak),))


def main():
    for day, opening in (("06-30", None), ("05-12", 37 * 60)):
        arrivals = crowd(day)
        inside, most = 0.0, 0.0
        for newcomers in arrivals:
            inside += newcomers - inside / STAY_S
            most = max(most, inside)
        peak = math.ceil(most / SOCKETS)
        if opening is None:
            opening = max(range(len(arrivals)), key=arrivals.__getitem__) - 20 * 60
        print(f"\n{day}: {sum(arrivals):,.0f} visitors, {most:,.0f} at once, {peak} instances at the peak;"
              f" {perfect(arrivals):.1f} instance hours would do\n")
        print("| autoscaler | instance hours | kept outside, visitor minutes | of all visitors | longest |")
        print("|---|---:|---:|---:|---:|")
        for scaler in scalers(opening, peak):
            found = play(scaler, arrivals)
            print(f"| {scaler.name} | {found['hours']:.1f} | {found['outside']:,.0f} | {found['late']:.1%} | {found['worst']:,.0f} s |")


if __name__ == "__main__":
    main()
