#!/usr/bin/env bash
# Builds the release before this one, the oldest that may run beside it, and prints where its program is. Its data are in data/.
set -euo pipefail

# When a release is made: the commit before it. It must be one that journals (schema 7 or newer).
commit=25bb1e0bd75f93e3ce70899fb8d4eefc03be821e
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
there=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}/previous-$commit")

if [ ! -x "$there/waitroom" ]; then
    # A clone without history has it not.
    if ! git -C "$root" cat-file -e "$commit^{commit}" 2>/dev/null &&
        ! git -C "$root" fetch --quiet --depth 1 origin "$commit"; then
        echo "$0: commit $commit is not here and cannot be fetched; clone with history (git fetch --unshallow)" >&2
        exit 69
    fi
    mkdir -p "$there"
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    git -C "$root" archive "$commit" | tar -x -C "$source"
    # With the profile that the tests use; its own target folder, so that neither build makes the other begin anew.
    (cd "$source" && CARGO_TARGET_DIR=$there/target cargo build --locked --quiet --bin waitroom ${PROFILE:+--profile "$PROFILE"}) >&2
    cp "$there/target/${PROFILE:-debug}/waitroom" "$there/waitroom"
    rm -rf "$there/target"
fi
echo "$there/waitroom"
