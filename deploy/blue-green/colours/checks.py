"""What is looked at before a colour gets visitors."""

import contextlib
import http.client
import re
import secrets
import time

from .hosts import Refused, say

TEST_SALE = "deploy-check-"


def look(settings, fresh, old):
    """What can be known before it runs: the version, its host's clock."""
    version = fresh.must("version").split()[-1]
    asked = time.time()
    off = float(fresh.must("clock")) - asked
    if not -settings.limits["clock_s"] <= off <= time.time() - asked + settings.limits["clock_s"]:
        raise Refused(f"{fresh}: its clock is {off:+.1f} s off; let it be set (systemd-timesyncd, chrony)")
    say("check", f"{fresh} has version {version}; its clock is right")
    same_redis(fresh, old)
    return version


def same_redis(fresh, old):
    """A colour that starts beside an empty Redis would begin the line anew there, so this is asked before it does."""
    status, said = fresh.run("doctor")
    if status != 0:
        faults = [line for line in said.splitlines() if not line.startswith(("ok ", "warn "))]
        raise Refused(f"{fresh}: {'; '.join(faults) or status}")
    theirs = old.run("doctor")[1]
    mine, theirs = (set(re.findall(r"role master, process (\w+)", text)) for text in (said, theirs))
    if mine and theirs and not mine & theirs:
        raise Refused(f"{fresh}: its redis_url leads to another Redis than {old}'s")
    known = "have the same Redis" if mine and theirs else f"may have the same Redis: the doctor of {old} does not say"
    say("check", f"{fresh}: its doctor finds nothing wrong; both {known}")


def check(settings, fresh, old, version):
    """All that can be known of a colour that runs and serves nobody."""
    if not (metrics := fresh.metrics()):
        raise Refused(f"{fresh}: its metrics do not come within a second")
    if (runs := metrics.get("version")) != version:
        raise Refused(f"{fresh}: version {runs} runs, {version} is installed")
    peer = old if old.trouble() is None else None
    if peer is None:
        say("check", f"{old} does not serve: {fresh} is not compared with it")
    probe(fresh, peer, settings.limits)


def probe(fresh, peer, limits):
    """A visitor of a test sale: joins, is granted, books, gives it back; and what one colour signs and keeps, the other knows."""
    sweep(fresh)
    sale = f"{TEST_SALE}{secrets.token_hex(4)}"
    seats = [{"seat_guid": f"T-{n}", "seat_number": f"{n}", "position": {"x": n, "y": 0}, "category": "T"} for n in (1, 2)]
    plan = {"name": "Test", "size": {"width": 3, "height": 1}, "categories": [{"name": "T", "color": "#888888"}],
            "zones": [{"name": "T", "position": {"x": 0, "y": 0},
                       "rows": [{"row_number": "T", "position": {"x": 0, "y": 0}, "seats": seats}]}]}
    terms = {"rate": 100, "max_active": 2, "grant_ttl_s": 60, "max_seats": 1, "anonymous": True}
    call(fresh, "POST", "/v1/admin/sales", {"id": sale, "name": "A deployment's test", "plan": plan} | terms, within=5)
    try:
        call(fresh, "PATCH", f"/v1/admin/sales/{sale}", {"phase": "open"}, within=5)
        mine = call(fresh, "POST", f"/v1/sales/{sale}/places", {})["place"]
        began = time.monotonic()
        while not (standing := call(fresh, "GET", f"/v1/sales/{sale}/places/me", token=mine))["granted"]:
            if time.monotonic() - began > limits["check_s"]:
                raise Refused(f"{fresh}: nobody is admitted: {standing}")
            time.sleep(0.1)
        wish = {"request": "deploy", "token": standing["granted"]["token"], "best": {"count": 1}}
        booking = call(fresh, "POST", f"/v1/sales/{sale}/places/me/redeem", wish, mine)["booking"]
        if peer:
            theirs = call(peer, "POST", f"/v1/sales/{sale}/places", {})["place"]
            compare(f"a visitor of {fresh} comes to {peer}", call(peer, "GET", f"/v1/sales/{sale}/places/me", token=mine))
            call(fresh, "GET", f"/v1/sales/{sale}/places/me", token=theirs)
        call(fresh, "DELETE", f"/v1/admin/bookings/{booking}")
        say("check", f"{fresh}: a visitor joined, was granted, booked and gave it back; {peer or 'nobody'} knows him too")
        pace = {colour: typical(colour, sale, mine) for colour in (fresh, peer) if colour}
    finally:
        with contextlib.suppress(Refused, OSError):
            sweep(fresh)
    if pace[fresh] > max(limits["slow_s"], limits["factor"] * pace.get(peer, 0.0)):
        raise Refused(f"{fresh} is slow: it answers in {pace[fresh]:.2f} s" +
                      (f", {peer} in {pace[peer]:.2f} s" if peer else ""))
    say("check", ", ".join(f"{colour} answers in {1000 * took:.0f} ms" for colour, took in pace.items()))


def compare(what, standing):
    if standing["state"] != "booked" or not standing["booking"]:
        raise Refused(f"{what} with a booking, and it does not know of it: other keys, another Redis or PostgreSQL? {standing}")


def call(colour, method, path, body=None, token=None, within=2.0):
    """What is answered to that; a refusal unless it is served."""
    try:
        status, said = colour.ask(method, path, body, token, within)
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"{colour}: {method} {path}: {error or type(error).__name__}") from error
    if status >= 300:
        hint = "; has it the same signing_keys, redis_url and postgres_url?" if status in (401, 404) else ""
        raise Refused(f"{colour}: {method} {path}: HTTP {status} {said}{hint}")
    return said


def typical(colour, sale, token):
    """How long it takes for an answer out of Redis: the mean of nine, apart from each other."""
    took = 0.0
    for _ in range(9):
        time.sleep(0.1)
        began = time.monotonic()
        call(colour, "GET", f"/v1/sales/{sale}/places/me", token=token, within=5)
        took += time.monotonic() - began
    return took / 9


def sweep(colour):
    """Ends test sales, also those of a deployment that was killed."""
    for sale in call(colour, "GET", "/v1/admin/sales", within=5)["sales"]:
        if sale["id"].startswith(TEST_SALE):
            if sale["phase"] != "closed":
                call(colour, "PATCH", f"/v1/admin/sales/{sale['id']}", {"phase": "closed"}, within=5)
            call(colour, "DELETE", f"/v1/admin/sales/{sale['id']}?confirm={sale['id']}", within=5)
