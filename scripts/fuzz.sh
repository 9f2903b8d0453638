#!/bin/sh
# Each parser under LLVM's libFuzzer, one after the other, for SECONDS each (docs/security.md): on the stable compiler, in a
# build of its own whose every branch the fuzzer sees. TARGETS="token plan" tries those alone. What breaks one is left in
# target/fuzz/found/; as crates/fuzz/seeds/<target>/found-<what> it is a test.
set -eu
cd "$(dirname "$0")/.."
SECONDS_EACH=${1:-60}
HOST=$(rustc -vV | sed -n 's/^host: //p')
DIR=target/fuzz
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks"
${CARGO:-cargo} build --locked --release --target "$HOST" --target-dir "$DIR" -p waitroom-fuzz --features libfuzzer
for TARGET in ${TARGETS:-$(ls crates/fuzz/seeds)}; do
	mkdir -p "$DIR/corpus/$TARGET" "$DIR/found"
	echo "== $TARGET"
	TARGET=$TARGET "$DIR/$HOST/release/fuzz" "$DIR/corpus/$TARGET" "crates/fuzz/seeds/$TARGET" \
		-max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
		-artifact_prefix="$DIR/found/$TARGET-" 2>"$DIR/$TARGET.log" || FAILED="${FAILED-} $TARGET"
	grep -E 'number_of_executed_units|new_units_added' "$DIR/$TARGET.log" || true
done
[ -z "${FAILED-}" ] || { echo "broken:$FAILED (target/fuzz/*.log)"; exit 1; }
