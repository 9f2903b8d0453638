#!/usr/bin/env bash
# Builds what people download into dist/: the binary, its bill of materials, checksums. TARGET is Rust's name of the platform.
# The static one (x86_64-unknown-linux-musl) is for containers that hold nothing else: docs/deploy.md has the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO="${CARGO:-cargo}"
TARGET="${TARGET:-x86_64-unknown-linux-gnu}"
CYCLONEDX=0.5.9
target_dir="${CARGO_TARGET_DIR:-target}"

case "$TARGET" in
    *-musl)
        command -v musl-gcc >/dev/null || { echo "$0: run apt-get install musl-tools" >&2; exit 69; }
        rustup target add "$TARGET" >/dev/null
        ;;
esac
"$CARGO" build --profile dist --locked --target "$TARGET"
binary="$target_dir/$TARGET/dist/waitroom"
version="$("$binary" --version | cut -d' ' -f2)"
name="waitroom-$version-$TARGET"

# The bill of materials lists what Cargo.lock has for this target, without what only tests need.
tools="$target_dir/tools"
if [ "$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null | cut -d' ' -f2)" != "$CYCLONEDX" ]; then
    "$CARGO" install --locked --version "$CYCLONEDX" --root "$tools" cargo-cyclonedx
fi
PATH="$tools/bin:$PATH" "$CARGO" cyclonedx --quiet --format json --spec-version 1.5 --target "$TARGET" \
    --override-filename waitroom.cdx
mkdir -p dist
cp "$binary" "dist/$name"
# Whoever builds it elsewhere gets the same list.
sed "s|file://$PWD|file:///waitroom|g" waitroom.cdx.json >"dist/$name.cdx.json"
rm -f waitroom.cdx.json crates/*/waitroom.cdx.json
cp CHANGELOG.md LICENSE dist/
(cd dist && sha256sum "$name" "$name.cdx.json" >"$name.sha256")
ls -l "dist/$name" "dist/$name.cdx.json" "dist/$name.sha256"
ldd "dist/$name" 2>&1 || true
