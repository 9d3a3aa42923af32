# Two commands do everything on a fresh Debian machine with Rust: `make run` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON_ENV := target/test-python
OPENCRYPTOKI := target/test-opencryptoki
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: run test clients check deny fuzz mutants bench peers soak help

help: ## List what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: softhsm ## Install SoftHSM if it is missing, build, and start `rederive dev`
	cargo build --release --locked --bin rederive
	exec target/release/rederive dev

test: softhsm test-tools $(PYTHON_ENV)/ready ## Install what tests need and run all tests
	PATH="$(CURDIR)/$(PYTHON_ENV)/bin:$$PATH" cargo test --workspace --locked

clients: softhsm test-tools client-tools $(PYTHON_ENV)/ready ## Also the S3 clients that take long to install: rclone, the AWS SDKs for JavaScript and for Rust
	npm ci --prefix tests/clients/js --no-audit --no-fund
	cargo build --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target/clients
	PATH="$(CURDIR)/$(PYTHON_ENV)/bin:$$PATH" cargo test --locked --test gateway -- --include-ignored

check: ## Formatting, lints, docs, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	$(MAKE) deny

deny: ## Licences, sources and bans of dependencies; advisories where their database can be reached
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --all-features check bans licenses sources
	cargo deny --all-features check advisories || echo "advisories were not checked (see above)"

fuzz: fuzz-tools ## Run every fuzz target for FUZZ_SECONDS (default 10), with the vectors as seeds
	fuzz/run $${FUZZ_SECONDS:-10}

bench: ## The benchmarks: each figure is a ratio against a baseline of the same run
	cargo bench --locked

peers: softhsm ## One request verified by this and by other projects, timed in turns (builds them, which takes minutes)
	cargo build --locked --bin rederive
	cargo run --release --locked --manifest-path benches/peers/Cargo.toml --target-dir target/peers -- target/debug/rederive

mutants: ## Mutation testing of src/sigv4; SHARD=0/12 takes every twelfth mutant, all of them take hours
	tests/mutants/run $${SHARD:-0/1}

soak: softhsm test-tools $(PYTHON_ENV)/ready ## The long forms of the fault tests, hours (2,000 kills instead of 40; every cell of the fault matrix; a million answers under random faults)
	PATH="$(CURDIR)/$(PYTHON_ENV)/bin:$$PATH" SOAK=1 cargo test --workspace --locked -- --nocapture

# What the system has to give, each asked for only when it is missing.
define install
	@missing=""; for pair in $(1); do command -v $${pair%%=*} >/dev/null || missing="$$missing $${pair##*=}"; done; \
	if [ -n "$$missing" ]; then $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq $$missing; fi
endef

.PHONY: softhsm test-tools client-tools fuzz-tools
softhsm:
	$(call install,softhsm2-util=softhsm2 cc=gcc)

test-tools: $(OPENCRYPTOKI)/ready
	$(call install,pkcs11-tool=opensc certutil=libnss3-tools curl=curl gdb=gdb valgrind=valgrind python3=python3)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq postgresql; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }

client-tools:
	$(call install,rclone=rclone node=nodejs npm=npm)

fuzz-tools:
	$(call install,c++=g++)

$(PYTHON_ENV)/ready: tests/requirements.txt
	python3 -m venv $(PYTHON_ENV)
	$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

# A third PKCS#11 module. It is unpacked and not installed: its daemon and its store are for the tests alone (tests/tokens/opencryptoki.sh).
$(OPENCRYPTOKI)/ready:
	rm -rf $(OPENCRYPTOKI) && mkdir -p $(OPENCRYPTOKI)
	cd $(OPENCRYPTOKI); get="apt-get download -qq opencryptoki libopencryptoki0"; $$get 2>/dev/null || { $(SUDO) apt-get update -qq && $$get; }
	for package in $(OPENCRYPTOKI)/*.deb; do dpkg-deb -x $$package $(OPENCRYPTOKI); done
	touch $@
