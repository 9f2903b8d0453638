// Not every script runs in a test (pictures, benches): each finds at least what it imports from its neighbours.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What a script imports by name from others beside it and does not find there, as "script: name". */
function missing(script, read) {
  const imports = read(script).matchAll(/^import \{([^}]*)\} from ["'](\.[^"']+)["']/gm);
  return [...imports].flatMap(([, names, from]) => {
    const there = read(join(dirname(script), from));
    const exported = [...there.matchAll(/^export (?:async )?(?:function\*?|const|let|class) ([\w$]+|[[{][^=]*)|^export (\{[^}]*\})/gm)]
      .flatMap(([, one, some]) => (one ?? some).match(/[\w$]+/g));
    const wanted = names.split(",").map((name) => name.trim().split(" as ")[0]).filter(Boolean);
    return wanted.filter((name) => !exported.includes(name)).map((name) => `${script}: ${name}`);
  });
}

test("every script finds what it imports", () => {
  const scripts = execFileSync("git", ["ls-files", "*.mjs"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  assert.ok(scripts.length > 30, scripts.join());
  assert.deepEqual(scripts.flatMap((script) => missing(script, (path) => readFileSync(join(ROOT, path), "utf8"))), []);
});

test("one that does not is caught", () => {
  const files = { "a/a.mjs": 'import { one, two as three } from "./b.mjs";', "a/b.mjs": "export const one = 1;\nfunction two() {}" };
  assert.deepEqual(missing("a/a.mjs", (path) => files[path]), ["a/a.mjs: two"]);
});
