# The one door to building, testing and releasing oxicache. `make` alone lists the targets.
#
# Every step leaves a stamp, so that a repeated call does only what has changed:
#   .venv-<tag>/   the virtual environment of one interpreter; <tag> is cp311, cp312, ...
#   dist/          the wheel of each interpreter, and the sdist; the tests run on the installed wheel
# Paths are relative, because make cannot tell a path with spaces from two paths.
# Kept to what GNU make 3.81 knows, which is what macOS ships.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

# ---------------------------------------------------------------- what may be set from outside

# The first interpreter that is new enough; `make test PYTHON=python3.12` chooses another.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	echo "$$python" && break; done)
# Arguments for pytest, as in `make test PYTEST_ARGS="-k stampede"`.
PYTEST_ARGS ?=
# Arguments for the benches, as in `make bench BENCH_ARGS="--rounds 31"`.
BENCH_ARGS ?=
# Arguments for the conformance run, as in `make conformance CONFORMANCE_ARGS=--write`.
CONFORMANCE_ARGS ?=
# A folder of real traces for the hit ratios.
TRACES ?=
# `make demo ONCE=1` ends by itself; DEMO_ARGS goes to the demo as it is.
ONCE ?=
DEMO_ARGS ?=

# ---------------------------------------------------------------- names

TAG := $(if $(PYTHON),$(shell "$(PYTHON)" -c 'import sys; print("cp%d%d%s" % (*sys.version_info[:2], sys.abiflags))'))
VENV := .venv-$(TAG)
RUN := $(VENV)/bin/python
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
# Continuous integration must not resolve other versions than those that were committed.
LOCKED := $(if $(CI),--locked)
# pyo3's build script runs in a folder of its own, so it needs the whole path.
PYO3 := PYO3_PYTHON="$(CURDIR)/$(RUN)"

EXTRAS := dev,demo,drf
# Where CI is set, hypothesis looks harder. Once is enough: on the first Python, with the raw methods. The other runs look
# briefly, and leave out what they would only repeat: tests/python/conftest.py lists that, and why.
BRIEFLY := OXICACHE_EXAMPLES=50
AGAIN :=
# What one run of pytest has compiled the next need not compile again, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=
# What is left to chance follows from one number: the order of the tests, what hypothesis and proptest draw, the order of a
# set of strings, the bytes of the fuzz run. Another number in each run, unless a SEED is given; a run says its own first, and
# the same one draws the same again. How threads and processes take turns is nobody's to say.
ifeq ($(strip $(SEED)),)
SEED := $(shell awk 'BEGIN { srand(); printf "%d", 2147483647 * rand() }')
endif
ifneq ($(shell awk -v seed='$(SEED)' 'BEGIN { print seed ~ /^[0-9]+$$/ && seed <= 4294967295 }'),1)
$(error SEED is "$(SEED)", but must be a whole number of at most 4294967295, which is where PYTHONHASHSEED ends)
endif
export SEED
export PYTHONHASHSEED := $(SEED)
# A failure of cargo's names these two: whoever gives them by hand has them.
PROPTEST_RNG_SEED ?= $(SEED)
OXICACHE_FUZZ_SEED ?= $(SEED)
export PROPTEST_RNG_SEED OXICACHE_FUZZ_SEED
CHANCE := --randomly-seed=$(SEED) --hypothesis-seed=$(SEED)
# Where PYTEST_ARGS chooses, a run may be left with no test, which is code 5.
SOME := $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])
RUST := $(shell sed -n 's/^rust-version = "1\.\([0-9]*\)".*/\1/p' Cargo.toml)
RUST_SOURCES := Cargo.toml $(wildcard Cargo.lock) build.rs $(shell find src -name '*.rs' 2>/dev/null)
SOURCES := $(RUST_SOURCES) pyproject.toml README.md LICENSE-MIT LICENSE-APACHE \
	$(shell find python -type f ! -name '*.pyc' ! -name '*.so' 2>/dev/null)
TESTS := $(shell find tests docs -type f ! -name '*.pyc' ! -path '*/.hypothesis/*' 2>/dev/null) \
	.ci/servers Makefile CONTRIBUTING.md CHANGELOG.md
WHEEL = $(wildcard dist/oxicache-*-$(TAG)-*.whl)

say = @printf '\n== %s\n' "$(1)"

# ---------------------------------------------------------------- targets for people

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(VENV)/.stamp-dev ## Make the virtual environment with every tool, and the package installed

.PHONY: build
build: $(VENV)/.stamp-installed ## Build the wheel for this interpreter and install it

.PHONY: demo
demo: $(VENV)/.stamp-demo ## Run the demo on real data, then serve its site until Ctrl-C (ONCE=1: end by itself)
	$(call say,The demo)
	@"$(RUN)" -m oxicache.demo $(if $(ONCE),--once) $(DEMO_ARGS)

.PHONY: test
test: ## Run every test that needs no server and no root, on one or two Pythons
	@rm -f dist/.stamp-tested
	@$(MAKE) --no-print-directory test-engine
	@$(MAKE) --no-print-directory setup
	@$(if $(SECOND_PYTHON),$(MAKE) --no-print-directory setup PYTHON="$(SECOND_PYTHON)")
	@"$(RUN)" tests/beside.py "$(MAKE) --no-print-directory test-raw" \
		"$(MAKE) --no-print-directory test-safe && $(MAKE) --no-print-directory test-second"
	@$(if $(PYTEST_ARGS),:,touch dist/.stamp-tested)

.PHONY: test-engine
test-engine: prerequisites ## Run the tests of the engine, which is built without Python
	$(call say,Engine: cargo test without Python (SEED=$(SEED)))
	@cargo test $(LOCKED)

.PHONY: test-python
test-python: ## Run pytest and the README's blocks on the installed wheel, with both method sets
	@$(MAKE) --no-print-directory test-raw
	@$(MAKE) --no-print-directory test-safe

.PHONY: test-raw
test-raw: $(VENV)/.stamp-dev
	$(call say,$(TAG): pytest on the wheel with the raw methods (SEED=$(SEED)))
	@$(if $(AGAIN),$(BRIEFLY)) OXICACHE_SAFE_METHODS= "$(RUN)" -m pytest -m "not server$(if $(AGAIN), and not once)" $(CHANCE) $(PYTEST_ARGS) $(SOME)

.PHONY: test-safe
test-safe: $(VENV)/.stamp-dev
	$(call say,$(TAG): pytest on the wheel with the safe methods (OXICACHE_SAFE_METHODS=1 SEED=$(SEED)))
	@$(BRIEFLY) OXICACHE_SAFE_METHODS=1 "$(RUN)" -m pytest -m "not server and not once and not any_methods" $(CHANCE) $(PYTEST_ARGS) $(SOME)

# For how many seconds hostile bytes are thrown at the control socket; `make test` does so for one.
FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz: prerequisites ## Throw hostile bytes at the control socket for a minute (FUZZ_SECONDS=600 for longer)
	$(call say,Hostile bytes for $(FUZZ_SECONDS) seconds (SEED=$(SEED)))
	@OXICACHE_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test $(LOCKED) --quiet --test fuzz_control -- --nocapture

# How often `make hunt` looks, and how far in each round: cases of a property of the engine, examples of one of Python's.
ROUNDS ?= 1
CASES ?= 100000
EXAMPLES ?= 2000

.PHONY: hunt
hunt: ## Look long for what fails rarely: many random draws, in ROUNDS=1 other orders (CASES=, EXAMPLES=)
	@round=0; while [ $$round -lt $(ROUNDS) ]; do \
		$(MAKE) --no-print-directory hunt-once SEED=$$(( ($(SEED) + round) % 4294967296 )) || exit; \
		round=$$((round + 1)); \
	done

# A machine that tries thousands of examples takes longer than the five minutes after which a test counts as hanging.
.PHONY: hunt-once
hunt-once: $(VENV)/.stamp-dev
	$(call say,Engine: $(CASES) cases of each property (SEED=$(SEED)))
	@PROPTEST_RNG_SEED=$(SEED) OXICACHE_FUZZ_SEED=$(SEED) PROPTEST_CASES=$(CASES) cargo test $(LOCKED) --release --quiet
	$(call say,$(TAG): $(EXAMPLES) examples of each property (SEED=$(SEED)))
	@OXICACHE_EXAMPLES=$(EXAMPLES) OXICACHE_SAFE_METHODS= "$(RUN)" -m pytest -m "not server and not once" \
		-o faulthandler_timeout=3600 $(CHANCE) $(PYTEST_ARGS) $(SOME)

# The newest CPython of 3.13 and 3.12 that is not the first one: on PATH, or kept by pyenv.
SECOND_PYTHON ?= $(shell for minor in 13 12; do \
	[ "cp3$$minor" = "$(TAG)" ] && continue; \
	for python in "python3.$$minor" "$$(pyenv root 2>/dev/null)"/versions/3.$$minor.*/bin/python; do \
		"$$python" -c "import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, $$minor))" >/dev/null 2>&1 && \
		echo "$$python" && exit; \
	done; done)

.PHONY: test-second
test-second: prerequisites ## Run test-python once more, on CPython 3.13 or 3.12 when there is one
	$(if $(SECOND_PYTHON),@$(MAKE) --no-print-directory test-python PYTHON="$(SECOND_PYTHON)" AGAIN=yes,\
	@printf '\n== No CPython 3.12 or 3.13 beside %s was found: nothing was tested on a second Python\n' "$(TAG)")

.PHONY: test-servers
test-servers: $(VENV)/.stamp-dev ## Run the tests that need Redis, PostgreSQL or memcached; installs these where it may
	@rm -f dist/.stamp-served
	$(call say,$(TAG): the tests that need a server (SEED=$(SEED)))
	@bash .ci/servers
	@OXICACHE_SERVERS=required "$(RUN)" -m pytest -m server $(CHANCE) $(PYTEST_ARGS)
	@$(if $(PYTEST_ARGS),:,touch dist/.stamp-served)

# The second Python brings another Django: the newest one that it can have.
SECOND_TAG = $(if $(SECOND_PYTHON),$(shell "$(SECOND_PYTHON)" -c 'import sys; print("cp%d%d%s" % (*sys.version_info[:2], sys.abiflags))'))

.PHONY: conformance
conformance: $(VENV)/.stamp-dev ## Run Django's own cache tests on NativeCache, on one or two Djangos
	@rm -f dist/.stamp-conformed
	@$(if $(SECOND_PYTHON),$(MAKE) --no-print-directory setup PYTHON="$(SECOND_PYTHON)",\
		printf '\n== No CPython 3.12 or 3.13 beside %s was found: one Django is tested\n' "$(TAG)")
	$(call say,Django's own cache tests)
	@"$(RUN)" tests/conformance/run.py --python "$(RUN)" \
		$(if $(SECOND_PYTHON),--python .venv-$(SECOND_TAG)/bin/python) $(CONFORMANCE_ARGS)
	@$(if $(CONFORMANCE_ARGS),:,touch dist/.stamp-conformed)

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Check format, lints, types, stubs, imports and Rust documentation
	$(call say,rustfmt)
	@cargo fmt --all --check
	$(call say,clippy: the engine alone)
	@cargo clippy $(LOCKED) --all-targets -- -D warnings
	$(call say,clippy: with the bindings)
	@$(PYO3) cargo clippy $(LOCKED) --all-targets --features python -- -D warnings
	$(call say,cargo doc: the engine alone)
	@RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --no-deps --document-private-items
	$(call say,cargo doc: with the bindings)
	@$(PYO3) RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --no-deps --document-private-items --features python
	$(call say,ruff)
	@"$(RUN)" -m ruff format --check .
	@"$(RUN)" -m ruff check .
	$(call say,mypy)
	@"$(RUN)" -m mypy python/oxicache tests/python/typing/api.py
	$(call say,stubtest: _native.pyi against the compiled module)
	@"$(RUN)" -m mypy.stubtest oxicache._native --mypy-config-file pyproject.toml \
		--allowlist tests/python/typing/stubtest.txt
	$(call say,import-linter)
	@"$(RUN)" -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'

.PHONY: format
format: $(VENV)/.stamp-dev ## Format the Rust and the Python source
	@cargo fmt --all
	@"$(RUN)" -m ruff format .
	@"$(RUN)" -m ruff check --fix --exit-zero .

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Print the target table with measured ratios (BENCH_ARGS="--json -", TRACES=DIR)
	@"$(RUN)" benches/run.py $(if $(TRACES),--traces "$(TRACES)") $(BENCH_ARGS)

.PHONY: bench-engine
bench-engine: prerequisites ## Measure the engine alone, with criterion
	@cargo bench $(LOCKED) --bench engine -- $(BENCH_ARGS)

.PHONY: bench-once
bench-once: $(VENV)/.stamp-dev ## Run every bench once, so that none of them rots
	$(call say,Benches: once)
	@"$(RUN)" benches/run.py --quick
	@cargo bench $(LOCKED) --bench engine -- --test

.PHONY: wheel
wheel: dist/.stamp-sdist ## Build wheel and sdist into dist/, and prove that the sdist builds and imports alone
	@ls -l dist/*.whl dist/*.tar.gz

.PHONY: check
check: dist/.stamp-tested dist/.stamp-served ## Do all that CI does; tests that are green on this very tree are not repeated
	@"$(RUN)" tests/beside.py "$(MAKE) --no-print-directory lint" \
		"$(MAKE) --no-print-directory dist/.stamp-conformed fuzz"
	@$(MAKE) --no-print-directory bench-once wheel
	$(call say,All checks passed)

.PHONY: clean
clean: ## Remove everything that was built, the virtual environments and the demo's data
	@rm -rf .venv-* dist build target .demo .hypothesis .benchmarks
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- stamps

.PHONY: FORCE
FORCE:

# $(error) prints one line and stops, where a failing recipe would add lines of its own.
.PHONY: prerequisites
prerequisites:
	$(if $(PYTHON),,$(error Python 3.11 or later is missing: apt-get install python3 python3-venv (Debian, Ubuntu), \
		brew install python (macOS), or https://www.python.org/downloads/))
	$(if $(shell "$(PYTHON)" -c 'import ensurepip, venv; print("yes")' 2>/dev/null),,$(error \
		$(PYTHON) has no venv with pip: apt-get install python3-venv (Debian, Ubuntu)))
	$(if $(shell cargo --version 2>/dev/null),,$(error \
		cargo is missing: get Rust 1.$(RUST) or later with rustup from https://rustup.rs/))
	$(if $(shell rustc --version 2>/dev/null),,$(error \
		rustc is missing: get Rust 1.$(RUST) or later with rustup from https://rustup.rs/))
	$(if $(shell rustc --version | awk '{ split($$2, part, "."); if (part[1] > 1 || part[2] >= $(RUST)) print "yes" }'),,$(error \
		$(shell rustc --version) is too old: get Rust 1.$(RUST) or later with rustup from https://rustup.rs/))
	$(if $(shell command -v cc || command -v clang || command -v gcc),,$(error \
		a C linker is missing: apt-get install build-essential (Debian, Ubuntu) or xcode-select --install (macOS)))
	@:

$(VENV)/.stamp-venv: pyproject.toml | prerequisites
	$(call say,$(TAG): virtual environment in $(VENV))
	@"$(PYTHON)" -m venv "$(VENV)"
	@"$(RUN)" -m pip install --quiet --disable-pip-version-check "maturin>=1.16,<2"
	@touch $@

# Without its wheel the stamp is worth nothing: a user may have emptied dist/.
dist/.stamp-$(TAG): $(SOURCES) $(VENV)/.stamp-venv $(if $(WHEEL),,FORCE) | prerequisites
	$(call say,$(TAG): building the wheel (some minutes the first time))
	@mkdir -p dist
	@rm -f dist/oxicache-*-$(TAG)-*.whl
	@"$(RUN)" -m maturin build --release $(LOCKED) --quiet --interpreter "$(RUN)" --out dist --target-dir "$(TARGET)/wheel-$(TAG)"
	@touch $@

$(VENV)/.stamp-installed: dist/.stamp-$(TAG)
	@"$(RUN)" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/oxicache-*-$(TAG)-*.whl
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-installed
	$(call say,$(TAG): installing what the demo needs)
	@wheel=$$(echo dist/oxicache-*-$(TAG)-*.whl); \
		"$(RUN)" -m pip install --quiet --disable-pip-version-check "./$$wheel[demo]"
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-installed
	$(call say,$(TAG): installing the tools)
	@wheel=$$(echo dist/oxicache-*-$(TAG)-*.whl); \
		"$(RUN)" -m pip install --quiet --disable-pip-version-check "./$$wheel[$(EXTRAS)]"
	@touch $@

dist/.stamp-tested: $(SOURCES) $(TESTS)
	@$(MAKE) --no-print-directory test

dist/.stamp-conformed: $(SOURCES) $(TESTS)
	@$(MAKE) --no-print-directory conformance

dist/.stamp-served: $(SOURCES) $(TESTS)
	@$(MAKE) --no-print-directory test-servers

# The sdist must hold all that a build needs, and the package must import where nothing else is installed.
dist/.stamp-sdist: dist/.stamp-$(TAG) $(if $(wildcard dist/oxicache-*.tar.gz),,FORCE)
	$(call say,$(TAG): sdist)
	@rm -rf dist/oxicache-*.tar.gz build/sdist && mkdir -p build/sdist
	@"$(RUN)" -m maturin sdist --out dist
	@CARGO_TARGET_DIR="$(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)/wheel-$(TAG)" \
		"$(RUN)" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/sdist dist/oxicache-*.tar.gz
	@"$(PYTHON)" -m venv build/sdist/venv
	@build/sdist/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index build/sdist/oxicache-*.whl
	@cd build/sdist && venv/bin/python -c "from oxicache import \
		TTLCache, CacheManager, cache_manager, DELETION_SET, ttl_cached_property, cached_method"
	@rm -rf build/sdist
	@touch $@
