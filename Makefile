# Everything a developer does, by name; `make` lists it. A target first sets up what it lacks, once:
# the environment .venv from the hash-pinned lock, the weights, test portraits, the official client.
# Needs Python >= 3.11 with venv, make, and the package index that pip is set up for.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
JOBS ?= 2

BIN := .venv/bin
PIP := -m pip --disable-pip-version-check --no-input -qq
MODELS := knownface-data/models
PORTRAITS := .cache/portraits
# Where a mistake costs most, tests leave nothing out.
WHOLE := src/knownface/errors.py,src/knownface/collection.py,src/knownface/following.py,src/knownface/vision/scheduler.py,$\
	src/knownface/api/wire.py

# Each of these files says that a step is done; what it depends on, when to do it again.
LOCKED := .venv/.locked
READY := .venv/.ready
SDK_READY := .venv-sdk/.ready
BENCH_READY := .venv-bench/.ready
MODELS_READY := $(MODELS)/.installed
PORTRAITS_READY := $(PORTRAITS)/CREDITS.md

# A copied or moved folder would go on running the code of the old one: make its environments anew.
ifneq ($(wildcard $(LOCKED)),)
ifneq ($(shell cat $(LOCKED)),$(CURDIR))
$(shell rm -f $(LOCKED) $(READY) $(SDK_READY) $(BENCH_READY))
endif
endif

.PHONY: help setup demo serve screenshots test check lint types imports format accuracy bench docs lock hooks \
	models models-wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# Use it

demo: $(READY) $(MODELS_READY) $(PORTRAITS_READY) ## enrol two people, recognise others, show the answers
	@$(BIN)/python scripts/demo.py $(PORTRAITS) --models $(MODELS)

serve: $(READY) ## start the server (fetches the weights if they are not there)
	@exec $(BIN)/knownface serve

screenshots: $(READY) $(MODELS_READY) $(PORTRAITS_READY) ## photograph every screen into .cache/screens (needs Chromium)
	@$(BIN)/python scripts/screenshots.py .cache/screens --models $(MODELS) --portraits $(PORTRAITS)

# Change it

test: export KNOWNFACE_TEST_MODELS = $(CURDIR)/$(MODELS)
test: export KNOWNFACE_TEST_PORTRAITS = $(CURDIR)/$(PORTRAITS)
test: export KNOWNFACE_TEST_SDK_PYTHON = $(CURDIR)/.venv-sdk/bin/python
test: check $(MODELS_READY) $(PORTRAITS_READY) $(SDK_READY) ## every check and every test, with coverage
	$(BIN)/pytest --numprocesses=$(JOBS) --dist=worksteal --cov --cov-report=term
	@$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100 --format=total >/dev/null || { \
		echo "Every line and branch of these must be tested: $(WHOLE)" >&2; exit 1; }

check: lint types imports ## what needs no test run: format, lint, spelling, types, layers

lint: $(READY)
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/typos

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports --no-logo --cache-dir .cache/imports

format: $(READY) ## put the code in order, as far as tools can
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

accuracy: export KNOWNFACE_TEST_MODELS = $(CURDIR)/$(MODELS)
accuracy: $(READY) $(MODELS_READY) ## error rates on real photographs, where the evaluation data is
	$(BIN)/pytest -q -rs -s -m accuracy --timeout=900 tests/accuracy

bench: $(BENCH_READY) $(MODELS_READY) $(PORTRAITS_READY) ## measure on this machine (idle, please); QUICK=1 takes 3 minutes
	@.venv-bench/bin/python -W ignore -m bench $(if $(QUICK),--quick)

docs: $(READY) ## write what follows from the program, check the rest, show the changelog to come
	$(BIN)/python scripts/document.py
	$(BIN)/pytest --quiet tests/test_docs.py tests/test_house.py
	$(BIN)/towncrier build --draft

lock: $(READY) ## pin dependencies after a change in pyproject.toml; UPGRADE=1 moves all to the newest
	$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

hooks: $(READY) ## let git run the quick checks before each commit
	$(BIN)/prek install

models-wheel: $(READY) $(MODELS_READY) ## build dist/knownface_models-*.whl, the weights as a package
	$(BIN)/python scripts/build_models_wheel.py $(MODELS) dist

clean: ## remove what the targets made; knownface-data, with its faces, stays
	rm -rf .venv .venv-bench .venv-sdk .cache dist

# What they stand on

setup: $(READY) $(MODELS_READY) $(PORTRAITS_READY) $(SDK_READY) ## all of the set-up, and nothing else

models: $(MODELS_READY)

# Debian keeps a part of Python in a package of its own; whoever may install it need not be asked to.
install_venv := test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	&& echo "Installing Debian's python3-venv" && apt-get -qq update \
	&& apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null

# $(1): the folder, $(2): the lock, $(3): further options of pip
define new_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(install_venv); } || { \
		echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(1) from $(2): about a minute, once"
	@rm -rf $(1)
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python $(PIP) install $(3) --require-hashes --requirement $(2)
endef

$(LOCKED): requirements/dev.txt
	$(call new_environment,.venv,requirements/dev.txt)
	@echo "$(CURDIR)" > $@

$(READY): pyproject.toml $(LOCKED)
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(SDK_READY): requirements/sdk.txt
	$(call new_environment,.venv-sdk,requirements/sdk.txt)
	@touch $@

# face-recognition asks for dlib by another name than that of its wheel: requirements/overrides.in.
$(BENCH_READY): requirements/bench.txt pyproject.toml $(READY)
	$(call new_environment,.venv-bench,requirements/bench.txt,--no-deps)
	@.venv-bench/bin/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(MODELS_READY): $(shell find src -name models.toml) | $(READY)
	@KNOWNFACE_MODELS_DIR="$(CURDIR)/$(MODELS)" $(BIN)/knownface models install
	@touch $@

$(PORTRAITS_READY): requirements/portraits.txt scripts/fetch_portraits.py | $(READY)
	@$(BIN)/python scripts/fetch_portraits.py $(PORTRAITS)
