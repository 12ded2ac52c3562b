# The words of the house. `make demo` and `make test` are all that a newcomer needs.

CARGO ?= cargo
TESTS := --test integration

.PHONY: help demo check test lab soak fuzz bench deb packages

help:
	@echo "make demo    a host without IPv4 fetches a page, in memory: no root, no network"
	@echo "make test    all tests; as root with the kernel lab"
	@echo "make check   format, lints, documentation, licences"
	@echo "make lab     the kernel lab alone (root)"
	@echo "make soak    ten minutes under load in the lab (root)"
	@echo "make bench   nanoseconds per packet, and as root the lab beside tayga and the kernel"
	@echo "make fuzz    ten million steps against the model, random cases, a minute of each fuzz target (nightly Rust)"
	@echo "make deb     a Debian package in target/debian"

demo:
	$(CARGO) run -q --release -- demo

check:
	$(CARGO) fmt --check
	$(CARGO) clippy -q --all-targets --all-features -- -D warnings
	$(CARGO) clippy -q --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --no-deps --all-features
	.ci/licences

# The same random cases each time; `make fuzz` takes others.
test: export PROPTEST_RNG_SEED ?= 1
test: packages
	$(CARGO) build -q
	$(CARGO) test

lab: packages
	$(CARGO) test $(TESTS) lab:: systemd:: -- --nocapture

soak: packages
	$(CARGO) test --release $(TESTS) soak -- --ignored --nocapture

bench: packages
	$(CARGO) bench

fuzz:
	.ci/fuzz

deb:
	.ci/deb

packages:
	@.ci/packages
