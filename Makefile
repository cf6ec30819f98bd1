# The commands of the project. Each works on a fresh Debian 12 with Rust and make.

PREFIX  ?= /usr
DESTDIR ?=
ARGS    ?=
CARGO   ?= cargo
FUZZ    ?= reader
FUZZ_SECONDS ?= 60

.PHONY: build demo test lint bench bench-quick fuzz install

build:
	$(CARGO) build --locked --release

# A relay, a platform, a host and NATS on this machine; ARGS=--check runs it unattended.
demo:
	tests/parts/install --demo
	$(CARGO) build --locked
	demo/run $(ARGS)

# Most tests wait, some for minutes, so more of them run at once than there are processors.
test: lint
	tests/parts/install
	$(CARGO) test --locked -- --test-threads 8

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path benches/Cargo.toml
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/Cargo.toml --target-dir target -- -D warnings
	@if $(CARGO) tree --locked -e normal --prefix none | grep -E '^(h2|rsa|openssl-sys|aws-lc-rs) '; then \
		echo 'these crates must not be in the tree' >&2; exit 1; fi

# What is shipped beside its floors and peers; the result is written into docs/benchmarks.md. As root, 25 minutes.
bench: build
	benches/run --into docs/benchmarks.md $(ARGS)

bench-quick: build
	benches/run quick $(ARGS)

# Arbitrary bytes for the frame reader, or with FUZZ=params arbitrary parameters for a target. Needs `cargo install --locked --version 0.13.2 cargo-fuzz`.
fuzz:
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir fuzz $(FUZZ) -- -max_total_time=$(FUZZ_SECONDS)

# The one place that says which file goes where; packages call it.
install: build
	install -D -m 0755 target/release/stream-agent $(DESTDIR)$(PREFIX)/bin/stream-agent
	install -D -m 0755 target/release/stream-relay $(DESTDIR)$(PREFIX)/bin/stream-relay
	install -D -m 0640 packaging/agent/config.toml $(DESTDIR)/etc/stream-agent/config.toml
	install -D -m 0640 packaging/relay/config.toml $(DESTDIR)/etc/stream-relay/config.toml
	install -d -m 0750 $(DESTDIR)/etc/stream-agent/config.d $(DESTDIR)/etc/stream-agent/targets.d
	install -m 0640 packaging/agent/targets.d/*.toml $(DESTDIR)/etc/stream-agent/targets.d/
	install -d -m 0750 $(DESTDIR)/etc/stream-agent/issuers.d $(DESTDIR)/etc/stream-relay/issuers.d
	install -d -m 0750 $(DESTDIR)/etc/stream-relay/config.d
	install -d $(DESTDIR)$(PREFIX)/share/doc/stream/docs/examples
	install -m 0644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(PREFIX)/share/doc/stream/
	install -m 0644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/stream/docs/
	install -m 0644 docs/examples/* $(DESTDIR)$(PREFIX)/share/doc/stream/docs/examples/
