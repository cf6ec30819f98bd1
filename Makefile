# The commands of the project. Each works on a fresh Debian 12 with Rust and make.

PREFIX  ?= /usr
DESTDIR ?=
ARGS    ?=
CARGO   ?= cargo
PROFILE ?= release
GLIBC   ?=
AUDITABLE ?=
FUZZ    ?= reader
FUZZ_SECONDS ?= 60
API_EXAMPLES ?= 200

TARGET = $(shell uname -m)-unknown-linux-gnu
BUILT  = $(or $(CARGO_TARGET_DIR),target)$(if $(GLIBC),/$(TARGET))/$(PROFILE)

.PHONY: build build-agent build-relay web web-test test-slow page-soak demo test lint manual bench bench-quick fuzz api-fuzz deb rpm repo sbom checksums release test-packages vendor install install-agent install-relay install-web

# Packages: the same source builds to the same bytes, in any folder and on any machine.
ifeq ($(PROFILE),dist)
CRATES = $(wildcard $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*)
MOVED  = $(CURDIR)=stream $(abspath $(or $(CARGO_TARGET_DIR),target))=target $(addsuffix =crates,$(CRATES))
export RUSTFLAGS += $(addprefix --remap-path-prefix=,$(MOVED)) -C link-arg=-Wl,--build-id=sha1
# Frame pointers let profilers walk the stack, and make unwind tables a quarter smaller. That saves more than they cost.
export RUSTFLAGS += -C force-frame-pointers=yes
export CFLAGS    += $(addprefix -ffile-prefix-map=,$(MOVED))
# No program contains a time, and another one would compile all C code again.
unexport SOURCE_DATE_EPOCH
endif

# With GLIBC=2.28 the programs run on this glibc and newer ones (Debian 10, EL8), on any build machine. With AUDITABLE=1
# they contain the list of their crates, for scanners (cargo audit bin, trivy, syft).
AUDITOR = $(if $(AUDITABLE),:$$(packaging/crate cargo-auditable))
# Each program is built separately, so that neither contains what only the other needs.
build: $(addprefix build-,agent relay)
build-agent build-relay: build-%:
ifneq ($(GLIBC),)
	PATH=$$(packaging/zig)$(AUDITOR):$$PATH $(CARGO) $(AUDITABLE:1=auditable) zigbuild --locked --profile $(PROFILE) --package stream-$* --target $(TARGET).$(GLIBC)
else
	PATH=$$PATH$(AUDITOR) $(CARGO) $(AUDITABLE:1=auditable) build --locked --profile $(PROFILE) --package stream-$*
endif

# The page that stream-relay serves, in web/dist. Needs node and npm; the programs do not need them. Packages are built only
# with what the page needs, from the archives in web/vendor, which are fetched if they are missing. OFFLINE=1 does that, too,
# but fetches nothing: with `make vendor` before, it needs neither npm nor a network.
web: web/node_modules/$(if $(OFFLINE)$(filter dist,$(PROFILE)),.vendored,.package-lock.json)
	cd web && node build.mjs

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/node_modules/.vendored: web/package-lock.json
	$(if $(OFFLINE),,cd web && node vendor.mjs fetch)
	cd web && node vendor.mjs unpack

# The types and unit tests of the page, and that it builds within its budgets.
web-test: web/node_modules/.package-lock.json
	cd web && npm run --silent check
	cd web && npm test --silent
	cd web && node build.mjs

# A relay with its platform and page, a host and NATS on this machine; ARGS=--check runs it unattended.
demo:
	tests/parts/install --demo
	$(MAKE) web
	$(CARGO) build --locked
	demo/run $(ARGS)

# All tests but the long ones of `make test-slow`. `--test '*'` is each file in tests/, including those that plain `cargo test` skips because they need root or services.
# Most tests wait, some for minutes. So more of them run at the same time than there are processors. Only `cargo build` writes
# the lists of sources by which the tests see that the programs are not older than the code. The page and the API come last, alone.
test: lint
	tests/parts/install
	$(MAKE) web-test
	$(CARGO) build --locked --bins --tests
	$(CARGO) test --locked --lib --bins --test '*' -- --test-threads 4
	$(CARGO) test --locked --doc
	$(CARGO) test --locked --package stream-tests --features slow --test page -- --test-threads 1 people_sign_in evil_names
	$(CARGO) test --locked --package stream-tests --features slow --test e2e -- api::

# The page in Chromium and Firefox through the whole chain, and viewers in an X server. Emulated machines and browsers at once are
# too much for the two processors of CI, so `make test` runs two scripts of the page, and without a machine.
test-slow: web
	tests/parts/install --slow
	$(CARGO) build --locked --bins
	$(CARGO) test --locked --package stream-tests --features slow --test page --test screens -- --test-threads 1

# The long form of tests/page.rs, with the programs of a release: a log of 10,000 lines a second for 30 s, without a task over
# 200 ms of processor time in the page. It also prints how soon the first view can be used.
page-soak: web build
	tests/parts/install --slow
	$(CARGO) build --locked --bins
	STREAM_PAGE_SOAK=1 STREAM_PAGE_PROGRAMS=$(abspath $(BUILT)) $(CARGO) test --locked --package stream-tests --features slow --test page -- --nocapture

# ADVISORIES=fetch, or =DIR (the folder of a clone), also checks known vulnerabilities.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path benches/Cargo.toml
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --package stream-tests --test '*' -- -D warnings
	$(CARGO) clippy --locked --package stream-tests --features slow --test '*' -- -D warnings
	$(CARGO) clippy --locked --manifest-path benches/Cargo.toml --target-dir target -- -D warnings
	packaging/deny

# Man pages and completions, from the programs' arguments and the shipped configuration.
manual:
	STREAM_WRITE_MANUAL=1 $(CARGO) test --locked --test manual

# Compares the shipped programs with floors and peers, and writes the result into docs/benchmarks.md. Needs root and 25 minutes.
bench: build
	benches/run --into docs/benchmarks.md $(ARGS)

bench-quick: build
	benches/run quick $(ARGS)

# Arbitrary bytes for the frame reader, or with FUZZ=params arbitrary parameters for a target. Needs `cargo install --locked --version 0.13.2 cargo-fuzz`.
fuzz:
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir fuzz $(FUZZ) -- -max_total_time=$(FUZZ_SECONDS)

# The test of the API against docs/openapi.json with many more values, and others each time. API_SEED repeats a run.
api-fuzz: API_SEED ?= $(shell od -An -N3 -tu4 /dev/urandom | tr -d ' ')
api-fuzz:
	tests/parts/install
	$(CARGO) build --locked --bins
	STREAM_API_EXAMPLES=$(API_EXAMPLES) STREAM_API_SEED=$(API_SEED) $(CARGO) test --locked --package stream-tests --features slow --test e2e -- api:: --nocapture

# Debian packages of the last commit, in target/packages/deb. VENDOR=1 puts all crates and npm packages into the source package,
# WEB= leaves the page out, and needs no node.
deb:
	packaging/deb

# RPM packages of the last commit, in target/packages/rpm. VENDOR=1 as above.
rpm:
	packaging/rpm

# Signed repositories with both, for apt and dnf, in target/packages/repo. GPG_KEY is your key, REPO_URL the address for users.
repo:
	packaging/repo

# A CycloneDX bill of materials, in target/packages/sbom.
sbom:
	packaging/sbom

# The files of a release, in target/packages/release.
release: deb rpm sbom
	packaging/checksums

checksums:
	packaging/checksums

# Tests the packages in booted systems of Debian 11, 12 and 13, and with Debian's and RPM's own tools. Needs root. REUSE=1 uses
# the packages that exist, ALL=1 also builds them a second time, and ARGS names scripts of packaging/tests.
test-packages: $(if $(REUSE),,deb rpm repo)
	packaging/tests/run $(ARGS)

# All crates into vendor/, and the npm packages of the page into web/vendor/, for builds without a network.
vendor:
	packaging/vendor .

# Installs the files. All packages use it. BUILT is the folder where `make build` put the programs. The page is installed if
# `make web` has built it.
install: install-agent install-relay $(if $(wildcard web/dist/manifest.json),install-web)

DOC = $(DESTDIR)$(PREFIX)/share/doc
UNITDIR ?= $(PREFIX)/lib/systemd/system
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions

install-agent install-relay: install-%: build-%
	install -D -m 0755 $(BUILT)/stream-$* $(DESTDIR)$(PREFIX)/bin/stream-$*
	install -d -m 0750 $(DESTDIR)/etc/stream-$* $(DESTDIR)/etc/stream-$*/config.d $(DESTDIR)/etc/stream-$*/issuers.d
	install -m 0640 packaging/$*/config.toml $(DESTDIR)/etc/stream-$*/config.toml
	if [ -d packaging/$*/targets.d ]; then install -d -m 0750 $(DESTDIR)/etc/stream-$*/targets.d && install -m 0640 -t $(DESTDIR)/etc/stream-$*/targets.d packaging/$*/targets.d/*.toml; fi
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR) systemd/stream-$*.service $(wildcard systemd/stream-$*.socket systemd/stream-$*-*.socket systemd/stream-$*-*@.service)
	if [ -e packaging/$*/postinst ]; then install -D -m 0755 -t $(DESTDIR)$(PREFIX)/lib/stream-$* packaging/$*/postinst packaging/$*/snapshot && install -m 0644 -t $(DESTDIR)$(PREFIX)/lib/stream-$* systemd/examples/stream-$*/unsplit.conf; fi
	install -D -m 0644 systemd/sysusers.d/stream-$*.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/stream-$*.conf
	install -D -m 0644 systemd/tmpfiles.d/stream-$*.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/stream-$*.conf
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 packaging/manual/stream-$*.8
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 packaging/manual/stream-$*.toml.5
	install -D -m 0644 packaging/completions/stream-$*.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/stream-$*
	install -D -m 0644 packaging/completions/_stream-$* $(DESTDIR)$(ZSH_COMPLETIONS)/_stream-$*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d packaging/completions/stream-$*.fish
	install -D -m 0644 -t $(DOC)/stream-$* README.md SECURITY.md docs/protocol.md docs/packages.md $(DOCS_$*)
	install -D -m 0644 -t $(DOC)/stream-$*/examples systemd/examples/stream-$*/*.conf $(EXAMPLES_$*)

install-web:
	@[ -e web/dist/manifest.json ] || { echo 'install-web: web/dist has no page: run `make web` before' >&2; exit 1; }
	cd web/dist && find * -type f -exec install -D -m 0644 {} $(abspath $(DESTDIR)$(PREFIX)/share/stream-relay/web)/{} \;
	install -D -m 0644 -t $(DOC)/stream-relay-web docs/page.md
	install -D -m 0644 -t $(DOC)/stream-relay-web/examples web/src/embed-example.html

DOCS_agent = docs/targets.md docs/security.md $(wildcard docs/audit.md)
DOCS_relay = docs/platform.md docs/page.md docs/proxies.md
EXAMPLES_relay = docs/examples/tiny_platform.py docs/examples/requirements.txt
