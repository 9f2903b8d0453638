"""python3 -m unittest discover -s deploy/blue-green"""

import os
import tempfile
import unittest

from colours.hosts import LIMITS, Settings
from colours.watch import DURATIONS, rates, worse

JOIN = DURATIONS[0]


def page(errors=0, joins=0, slow=0, started=1.0):
    return {"waitroom_store_errors_total": errors, f"{JOIN}_count": joins, (f"{JOIN}_bucket", 1.0): joins - slow,
            "process_start_time_seconds": started}


class Worse(unittest.TestCase):
    def test_a_colour_that_is_well_is_not_worse(self):
        self.assertIsNone(worse(rates(page(), page(joins=1000, slow=5)), {}, LIMITS))
        # Counters that began anew are no faults.
        self.assertIsNone(worse(rates(page(errors=100), page()), {}, LIMITS))

    def test_faults_are_seen(self):
        self.assertIn("waitroom_store_errors_total: 6 more", worse(rates(page(errors=1), page(errors=7)), {}, LIMITS))
        self.assertIsNone(worse(rates(page(errors=1), page(errors=6)), {}, LIMITS))

    def test_slow_joins_are_seen(self):
        self.assertIn(f"{JOIN}: 0.6 of them over 1 s", worse(rates(page(), page(joins=100, slow=60)), {}, LIMITS))
        # Of a few nothing is said.
        self.assertIsNone(worse(rates(page(), page(joins=19, slow=19)), {}, LIMITS))

    def test_what_the_other_was_like_too_is_not_worse(self):
        before = rates(page(), page(errors=10, joins=100, slow=20))
        self.assertIsNone(worse(rates(page(), page(errors=30, joins=100, slow=50)), before, LIMITS))
        self.assertIn("31 more, 10 before", worse(rates(page(), page(errors=31)), before, LIMITS))


class Refuses(unittest.TestCase):
    def settings(self, change):
        with tempfile.TemporaryDirectory() as folder:
            token = os.path.join(folder, "token")
            with open(token, "w") as file:
                file.write("secret\n")
            with open(os.path.join(os.path.dirname(__file__), "colours.toml")) as file:
                text = change(file.read().replace("/etc/waitroom/admin-token", token))
            path = os.path.join(folder, "colours.toml")
            with open(path, "w") as file:
                file.write(text)
            return Settings(path)

    def test_the_example_is_complete(self):
        settings = self.settings(lambda text: text)
        self.assertEqual((settings.token, settings.limits), ("secret", LIMITS))
        self.assertEqual(settings.colours["green"].argv("stop")[-2:], ["root@10.0.0.12", "systemctl stop waitroom"])
        # What it says of the defaults is so.
        said = self.settings(lambda text: text[:text.index("# [limits]")] +
                             text[text.index("# [limits]"):].replace("\n# ", "\n").replace("# [limits]", "[limits]"))
        self.assertEqual(said.limits, LIMITS)

    def test_what_is_missing_or_unknown_is_named(self):
        for change, named in [(lambda text: text.replace("[green]", "[blue2]"), "green"),
                              (lambda text: text.replace("stop =", "halt ="), "halt, stop"),
                              (lambda text: text + "\n[limits]\nwatch = 3\n", "watch"),
                              (lambda text: text + "\n[limits]\nwatch_s = -3\n", "limits.watch_s: -3"),
                              (lambda text: text.replace("state_dir", "folder"), "state_dir")]:
            with self.assertRaisesRegex(ValueError, named):
                self.settings(change)


if __name__ == "__main__":
    unittest.main()
