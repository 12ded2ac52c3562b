# Every task of the project. A newcomer needs `make demo` and `make test`.
#
# The licence check and the package are scripts in .ci: Debian 12 has neither cargo-deny nor cargo-deb, and both take
# minutes to compile. .ci/licences also runs cargo-deny where it is installed; .ci/deb needs only dpkg-deb and binutils.

CARGO ?= cargo
TESTS := --test integration

.PHONY: help setup demo check test lab soak fuzz mutants bench deb deb-boot tarball root-setup

help:
	@echo "make demo    fetch a page from a host without IPv4, in memory: no root, no network"
	@echo "make setup   install the Debian packages that the tests call (root)"
	@echo "make test    run all tests; as root including the kernel lab, after make setup"
	@echo "make check   check format, lints, documentation, licences"
	@echo "make lab     run the kernel lab alone (root)"
	@echo "make soak    inject faults under load for 20 minutes, and write the table of RELIABILITY.md; MINUTES=120 for longer (root)"
	@echo "make bench   measure nanoseconds per packet, and as root compare with tayga and the kernel"
	@echo "make fuzz    run ten million steps against the model, random cases, a minute of each fuzz target (nightly Rust)"
	@echo "make mutants FOLDER=src/xlat   run mutation tests of a folder, one hour at most; run it again to continue"
	@echo "make deb     build a Debian package in target/debian and check it"
	@echo "make deb-boot  boot a Debian in private namespaces, and install, upgrade, remove and purge that package (root)"
	@echo "make tarball build a tarball with the same files in target/debian"

demo:
	@echo "Building gate64. The first build takes several minutes."
	$(CARGO) run --profile demo -- demo

check:
	$(CARGO) fmt --check
	$(CARGO) clippy -q --all-targets --all-features -- -D warnings
	$(CARGO) clippy -q --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --no-deps --all-features
	.ci/licences

# A fixed seed: the same random cases each time. `make fuzz` uses other seeds.
test: export PROPTEST_RNG_SEED ?= 1
test: root-setup
	$(CARGO) build -q
	$(CARGO) test

lab: root-setup
	$(CARGO) test $(TESTS) lab:: systemd:: -- --nocapture

soak: root-setup
	$(CARGO) build --release
	GATE64_SOAK_MINUTES="$(MINUTES)" GATE64_SOAK_PROGRAM="$$(.ci/target)/release/gate64" \
	    $(CARGO) test $(TESTS) systemd::soak::all_faults -- --ignored --exact --nocapture

bench: root-setup
	$(CARGO) bench

fuzz:
	.ci/fuzz

mutants:
	.ci/mutants "$(FOLDER)" "$(MINUTES)"

deb:
	.ci/deb

deb-boot:
	.ci/deb-boot

tarball:
	.ci/tarball

setup:
	@.ci/packages

# Installs packages only for root; other users get the list of what is missing.
root-setup:
	@if [ "$$(id -u)" = 0 ]; then echo "running as root: make setup installs missing packages first"; fi
	@.ci/packages
