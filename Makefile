# Every task of the project. A newcomer needs `make demo` and `make test`.

CARGO ?= cargo
TESTS := --test integration

.PHONY: help setup demo check test lab soak fuzz bench deb root-setup

help:
	@echo "make demo    a host without IPv4 fetches a page, in memory: no root, no network"
	@echo "make setup   install the Debian packages that the tests call (root)"
	@echo "make test    all tests; as root with the kernel lab, after make setup"
	@echo "make check   format, lints, documentation, licences"
	@echo "make lab     the kernel lab alone (root)"
	@echo "make soak    ten minutes under load in the lab (root)"
	@echo "make bench   nanoseconds per packet, and as root the lab beside tayga and the kernel"
	@echo "make fuzz    ten million steps against the model, random cases, a minute of each fuzz target (nightly Rust)"
	@echo "make deb     a Debian package in target/debian"

demo:
	@echo "Building gate64. The first build takes several minutes."
	$(CARGO) run --profile demo -- demo

check:
	$(CARGO) fmt --check
	$(CARGO) clippy -q --all-targets --all-features -- -D warnings
	$(CARGO) clippy -q --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --no-deps --all-features
	.ci/licences

# The same random cases each time; `make fuzz` takes others.
test: export PROPTEST_RNG_SEED ?= 1
test: root-setup
	$(CARGO) build -q
	$(CARGO) test

lab: root-setup
	$(CARGO) test $(TESTS) lab:: systemd:: -- --nocapture

soak: root-setup
	$(CARGO) test --release $(TESTS) soak -- --ignored --nocapture

bench: root-setup
	$(CARGO) bench

fuzz:
	.ci/fuzz

deb:
	.ci/deb

setup:
	@.ci/packages

# Installs packages only for root; other users get the list of what is missing.
root-setup:
	@if [ "$$(id -u)" = 0 ]; then echo "running as root: make setup installs missing packages first"; fi
	@.ci/packages
