# Two targets matter: `make demo` and `make test`. On a fresh Debian machine they need only Rust, make and the
# network; what else is missing, scripts/deps.sh installs.

CARGO ?= cargo
CROWD ?= 300
# What `deploy-test` deploys: the tests' own build, or a release build for figures.
BIN ?=
# The tests wait for stores and clocks most of the time.
export RUST_TEST_THREADS ?= 3
# The Node suites take two or three minutes; one that hangs must fail, not wait for ever.
BOUNDED := timeout -k 10 900
# What `make dist` builds for.
TARGET ?= x86_64-unknown-linux-gnu

.PHONY: help demo test chaos forgeries fuzz deploy-test deps deps-test build dist lint fmt it others node foreign browser bench deny check-deploy clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: deps ## Build, then run everything here with a crowd of visitors (CROWD=300)
	$(CARGO) build --release --locked
	$(or $(CARGO_TARGET_DIR),target)/release/waitroom demo --crowd $(CROWD)

# Clippy looks on while the tests are compiled: alone it would take every crate once more, half of a build's work.
test: export RUSTC_WORKSPACE_WRAPPER := clippy-driver
test: export CLIPPY_ARGS := -Dwarnings__CLIPPY_HACKERY__
test: export TMPDIR := $(shell scripts/tmp.sh)
# The suites wait for stores and clocks most of the time, so they run beside each other; each one's words come when it ends.
test: deps-test ## Every test
	$(CARGO) fmt --all --check
	$(CARGO) test --locked --workspace --all-targets --no-run
	$(MAKE) --jobs=3 --output-sync=target BUILT=1 it others node

chaos: deps-test ## Everything breaks while a crowd is there (HOURS=2 SEED=7 KINDS=all): docs/faults.md
	$(CARGO) test --locked --test faults -- --ignored --nocapture --test-threads=1

forgeries: deps-test ## A hundred thousand tokens that are not what they say (minutes)
	$(CARGO) test --locked --test it -- --ignored --nocapture forgeries

fuzz: ## Every parser under a fuzzer, SECONDS=60 each (TARGETS="token plan"): docs/security.md
	scripts/fuzz.sh $(or $(SECONDS),60)

deploy-test: deps-test ## A full room moves between two hosts, and between releases (VISITORS=2000 ROUNDS=20 BIN=…): docs/blue-green.md
	COLOURS_OLD=$$(tests/previous/build.sh) COLOURS_BIN=$(BIN) \
		$(CARGO) test --locked --test colours -- --ignored --nocapture --test-threads=1

deps: ## Install what the demo needs
	scripts/deps.sh demo

deps-test: ## Install what the tests need
	scripts/deps.sh test

build: ## The release binary
	$(CARGO) build --release --locked

dist: ## What people download, in dist/: binary, bill of materials, checksums (TARGET=x86_64-unknown-linux-musl: static)
	CARGO=$(CARGO) TARGET=$(TARGET) scripts/dist.sh

lint: ## Format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format
	$(CARGO) fmt --all

# Two sides that are about as long, and every test is in one of them by its name.
it: ## The server within the tests' own process, with its own Redis and PostgreSQL
	$(CARGO) test --locked --workspace --test 'i*'

others: ## The other Rust tests: units, the program from outside, what fails, hosts, the documents
	$(CARGO) test --locked --workspace --lib --bins --test '[!i]*'
	$(CARGO) test --locked --workspace --doc

node: ## The two suites of Node
	$(MAKE) foreign
	$(MAKE) browser

# `cargo build` makes the program with other features of its crates than `cargo test` does: all of it again.
foreign: ## The contract, by a client that shares no code with the server
	$(if $(BUILT),,$(CARGO) build --locked)
	cd tests/foreign && npm ci --no-audit --no-fund && $(BOUNDED) npm test

browser: ## The pages, in a real browser
	$(if $(BUILT),,$(CARGO) build --locked)
	cd tests/browser && npm ci --no-audit --no-fund && $(BOUNDED) ../../scripts/alone.sh npm test

bench: ## The measurements that docs/decisions quote
	$(CARGO) bench --locked --bench bookings
	$(CARGO) bench --locked --bench schema
	$(CARGO) bench --locked --bench cache
	$(CARGO) bench --locked --bench troubles

deny: ## Licences and advisories of the dependencies (needs cargo-deny)
	cargo-deny check

check-deploy: ## The files of deploy/ under validators from the registries (downloads them)
	scripts/check-deploy.sh

clean: ## Remove what was built; data stays
	$(CARGO) clean
	rm -rf tests/browser/node_modules tests/foreign/node_modules
