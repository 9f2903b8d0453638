"""The two hosts and nginx: what can be asked of them, and said to them."""

import contextlib
import datetime
import http.client
import json
import os
import re
import shlex
import subprocess
import time
import tomllib
import urllib.request

LIMITS = {"start_s": 60.0, "check_s": 10.0, "clock_s": 1.0, "watch_s": 10.0, "drain_s": 120.0, "misses": 3,
          "faults": 5, "slow_s": 0.5, "slow_share": 0.5, "factor": 3.0}


class Refused(Exception):
    """The colour that serves goes on serving."""


def say(step, text):
    print(f"{datetime.datetime.now():%H:%M:%S} {step:<8} {text}", flush=True)


class Settings:
    def __init__(self, path):
        with open(path, "rb") as file:
            given = tomllib.load(file)
        wanted = {"state_dir": str, "admin_token_file": str, "nginx": dict, "hosts": dict, "blue": dict, "green": dict}
        parts = {"nginx": ["active", "test", "reload", "colour", "visitors"],
                 "hosts": ["run", "version", "doctor", "migrations", "start", "stop", "kill", "alive", "clock"],
                 "blue": ["host", "public", "admin"], "green": ["host", "public", "admin"]}
        for key, kind in wanted.items():
            if not isinstance(given.get(key), kind):
                raise ValueError(f"{key}: is missing; deploy/blue-green/colours.toml shows it")
        for part, keys in parts.items():
            if wrong := set(keys) ^ set(given[part]):
                raise ValueError(f"{part}: needs {', '.join(keys)}; missing or unknown: {', '.join(sorted(wrong))}")
        if wrong := set(given) - set(wanted) - {"limits"} or set(given.get("limits", {})) - set(LIMITS):
            raise ValueError(f"unknown: {', '.join(sorted(wrong))}; deploy/blue-green/colours.toml shows all there are")
        for name, value in given.get("limits", {}).items():
            if not isinstance(value, (int, float)) or value <= 0:
                raise ValueError(f"limits.{name}: {value!r} is no number above 0")
        self.nginx, self.hosts, self.state_dir = given["nginx"], given["hosts"], given["state_dir"]
        self.limits = LIMITS | given.get("limits", {})
        with open(given["admin_token_file"]) as file:
            self.token = file.read().strip()
        self.colours = {name: Colour(self, name, **given[name]) for name in ("blue", "green")}


class Colour:
    """One host, one instance."""

    def __init__(self, settings, name, host, public, admin):
        self.settings, self.name, self.host, self.public, self.admin = settings, name, host, public, admin

    def __str__(self):
        return self.name

    def argv(self, what):
        """The command line that runs what `hosts` says for it on the host."""
        put = {"{host}": self.host, "{command}": self.settings.hosts[what]}
        return [put.get(word, word) for word in shlex.split(self.settings.hosts["run"])]

    def run(self, what, within=30.0):
        """Exit status and what was said. A host that does not answer is status -1."""
        try:
            done = subprocess.run(self.argv(what), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=within)
        except subprocess.TimeoutExpired:
            return -1, f"{self.host} did not answer within {within:.0f} s"
        return done.returncode, done.stdout.strip()

    def must(self, what, within=30.0):
        status, said = self.run(what, within)
        if status != 0:
            raise Refused(f"{self}: {self.settings.hosts[what]!r} on {self.host}: {said or f'status {status}'}")
        return said

    def ask(self, method, path, body=None, token=None, within=1.0):
        """Status and JSON. The admin API if no visitor's token is given."""
        address = self.admin if path.startswith(("/v1/admin", "/readyz", "/metrics")) else self.public
        headers = {"Content-Type": "application/json"}
        if token or address == self.admin:
            headers["Authorization"] = f"Bearer {token or self.settings.token}"
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=within)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        return answer.status, text

    def trouble(self):
        """Why a visitor should not be sent there; none if he may."""
        try:
            status, said = self.ask("GET", "/readyz")
        except (OSError, http.client.HTTPException) as error:
            return f"no answer at {self.admin} ({error or type(error).__name__})"
        reasons = said.get("reasons") if isinstance(said, dict) else None
        return None if status == 200 else ", ".join(reasons or [f"HTTP {status}"])

    def metrics(self):
        """Sums over labels, by name; of a histogram's buckets by name and `le` too. Nothing if it does not answer."""
        try:
            _, page = self.ask("GET", "/metrics")
        except (OSError, http.client.HTTPException):
            return {}
        found = {}
        for name, labels, value in re.findall(r"^(\w+)(\{.*\})? (\S+)$", str(page), re.M):
            le = re.search(r'[{,]le="([^"]*)"', labels)
            key = (name, float(le[1])) if le else name
            found[key] = found.get(key, 0.0) + float(value)
            if name == "waitroom_build_info":
                found["version"] = re.search(r'version="([^"]*)"', labels)[1]
        return found


class Nginx:
    def __init__(self, settings):
        self.settings = settings.nginx

    def running(self):
        """The colour that new visitors are sent to, by nginx' own word; none if it does not say."""
        try:
            with urllib.request.urlopen(self.settings["colour"], timeout=1) as answer:
                return answer.read().decode().strip().removeprefix("waitroom_")
        except OSError:
            return None

    def written(self):
        """The colour that nginx takes at its next reload or start."""
        with open(self.settings["active"]) as file:
            found = re.search(r"default waitroom_(blue|green);", file.read())
        if not found:
            raise ValueError(f"nginx.active: {self.settings['active']} has no `default waitroom_blue;` or …green")
        return found[1]

    def write(self, name):
        replace(self.settings["active"], f'map "" $waitroom_colour {{ default waitroom_{name}; }}\n')

    def command(self, what):
        try:
            done = subprocess.run(shlex.split(self.settings[what]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            raise Refused(f"{self.settings[what]!r} did not end within 30 s") from None
        if done.returncode != 0:
            raise Refused(f"{self.settings[what]!r}: {done.stdout.strip()}")

    def switch(self, name):
        """Newcomers go to `name` from here on; or all is as it was."""
        before = self.written()
        self.write(name)
        say("switch", f"{self.settings['active']} says {name}")
        try:
            self.command("test")
            self.command("reload")
            until = time.monotonic() + 5
            while self.running() != name:
                if time.monotonic() > until:
                    raise Refused(f"nginx was told to, and does not send visitors to {name}")
                time.sleep(0.05)
        except BaseException:
            self.write(before)
            with contextlib.suppress(Refused):
                self.command("reload")
            raise
        say("switch", f"nginx sends newcomers to {name}")

    def trouble(self):
        """Why a newcomer is not served; none if he is."""
        try:
            with urllib.request.urlopen(self.settings["visitors"], timeout=1):
                return None
        except OSError as error:
            return f"a visitor of {self.settings['visitors']} is told {error}"


def replace(path, text):
    """The file has the old text or the new, whatever ends this program or the machine."""
    fresh = f"{path}.new"
    with open(fresh, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
