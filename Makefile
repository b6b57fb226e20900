# The one door. `make help` says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# All that is built or installed lies here; remove the folder and nothing is left.
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
TOOLS := $(TARGET)/tools
VENV := $(TARGET)/venv
export PATH := $(VENV)/bin:$(TOOLS)/bin:$(PATH)

WORKFLOW := workflows/increase-test-coverage
DEBUG_BINARY := $(TARGET)/debug/ratchet
RELEASE_BINARY := $(TARGET)/release/ratchet

# The functions of a deployment, and the program of its tasks.
FUNCTIONS := trigger planner step-dispatcher completion-handler step-runner
ifdef RATCHET_TEST_EMULATOR
export RATCHET_TEST_FUNCTIONS := $(TARGET)/test-functions
endif

# What the command is built with to be tested: traces, and `--stack`.
TESTED := ratchet-cli/otlp,ratchet-cli/aws
# What the command is built with for release. `otlp,aws` adds `--stack`.
FEATURES ?= otlp

# Who writes the tests in `make run`: the recorded session that ships with the workflow, or `claude` for Claude Code.
AGENT ?= recorded:$(WORKFLOW)/recording
# Of how many steps the runs of `make bench-aws` are.
SIZES ?= 10,100,1000
# How many random runs `make simulate` drives.
SEEDS ?= 20000
# How many mutations of each kind `make fuzz` tries.
MUTATIONS ?= 100000
# How often `make soak` kills the command.
KILLS ?= 200

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.installed ## Runs the workflow increase-test-coverage on a copy of its sample (AGENT=claude for the real one)
	cargo build --quiet --locked --package ratchet-cli
	@RATCHET=$(DEBUG_BINARY) SCRATCH=$(TARGET)/run AGENT=$(AGENT) $(WORKFLOW)/run-sample.sh

.PHONY: test
test: $(VENV)/.installed ## Runs every test: units, contracts, the simulation, the command as a black box
	$(MAKE) --no-print-directory test-programs
	RATCHET_BIN=$(DEBUG_BINARY) tools/test.sh --workspace --features $(TESTED)

# The command and the functions as the tests use them. All is built at once and with the features of the tests, so that no dependency is built twice.
.PHONY: test-programs
test-programs:
	cargo build --quiet --locked --workspace --all-targets --features $(TESTED)
	tools/functions.sh $(TARGET)/debug $(TARGET)/test-functions

.PHONY: check
check: ## Formatting, lints, licences and advisories, generated pages
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features $(TESTED) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --features $(TESTED) --no-deps
	tools/deny.sh
	$(MAKE) --no-print-directory docs
	@git diff --exit-code --stat -- docs || { echo "generated pages were out of date: commit what make docs wrote"; exit 1; }

# With the features of the tests, so that nothing is built for this alone.
.PHONY: docs
docs: ## Writes the pages that are generated from the code
	RATCHET_UPDATE_DOCS=1 tools/test.sh --features $(TESTED) --workspace the_published
	RATCHET_UPDATE_DOCS=1 tools/test.sh --features $(TESTED) --workspace diagram

.PHONY: build
build: ## Builds the command for release
	cargo build --release --locked --package ratchet-cli --features $(FEATURES)
	@ls -l $(RELEASE_BINARY) | awk '{ printf "%s: %.1f MB\n", $$NF, $$5 / 1e6; \
		if ($$5 > 25e6) { print "25 MB is the most: find what grew" > "/dev/stderr"; exit 1 } }'

.PHONY: functions
functions: ## Builds the functions that template.yaml deploys, and says how large each is when packed
	cargo build --locked --profile function $(FUNCTIONS:%=--package %)
	tools/functions.sh $(TARGET)/function $(TARGET)/functions
	@tools/packages.sh $(TARGET)/functions

.PHONY: bench
bench: build $(VENV)/.installed ## Measures the command beside GNU make, a shell loop and the physical limit
	cargo build --release --quiet --locked --package ratchet-benches
	$(TARGET)/release/ratchet-benches $(RELEASE_BINARY)

.PHONY: bench-aws
bench-aws: ## Counts what steps ask of AWS in runs of SIZES steps, and what a million of them cost
	$(MAKE) --no-print-directory test-programs
	@RATCHET_COSTS=$(SIZES) RATCHET_BIN=$(DEBUG_BINARY) RATCHET_TEST_FUNCTIONS=$(TARGET)/test-functions \
		RATCHET_TEST_EMULATOR=$$(tests/support/install-emulator.sh) SHOW=1 tools/test.sh --features $(TESTED) --workspace no_step_costs

.PHONY: simulate
simulate: ## Drives SEEDS random runs over failing ports
	cargo run --quiet --locked --package ratchet-testkit --bin simulate -- --seeds $(SEEDS)

.PHONY: fuzz
fuzz: ## Reads MUTATIONS mutated files, templates, expressions and commands
	RATCHET_FUZZ=$(MUTATIONS) SHOW=1 tools/test.sh --package ratchet-definition fuzz::

.PHONY: soak
soak: $(VENV)/.installed ## Kills the command KILLS times at random moments and resumes it; resumes every workflow from each step
	cargo build --quiet --locked --package ratchet-cli
	RATCHET_BIN=$(DEBUG_BINARY) RATCHET_KILLS=$(KILLS) SHOW=1 tools/test.sh --package ratchet-tests crash
	RATCHET_BIN=$(DEBUG_BINARY) RATCHET_RESUMES=all SHOW=1 tools/test.sh --package ratchet-tests a_resume_from_any_step

# One Python for the samples of all workflows, with pinned packages, so that a machine's own pytest has no say. What two of them need, they pin alike.
$(VENV)/.installed: $(wildcard workflows/*/sample/requirements.txt)
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix --requirement ,$^)
	touch $@
