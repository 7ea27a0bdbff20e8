# Everything runs from a plain checkout: needed are make, git and Python 3.11 or newer with pip, nothing else.
# Environments are made from the pinned requirements, inside the checkout: .uv/, .venv/ and .cache/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
UV := .uv/bin/uv
AF3 := .venv/airflow-3
AF2 := .venv/airflow-2.11
S3 := .venv/object-storage
CLIENT := .venv/client
PEERS := .venv/benchmarks
CHROMIUM := .cache/chromium
BROWSER_ENVS := $(foreach name,browser browser-3.1 browser-3.2,.venv/$(name)/.installed)
PYTEST := -m pytest
# Worker processes of pytest; the tests wait more than they compute.
WORKERS ?= 3

# Settings of somebody's own Airflow or of the real service must reach neither the tests nor the demo.
$(foreach name,$(filter AIRFLOW_% ATAI_% PYTHONPATH PYTHONHOME VIRTUAL_ENV,$(.VARIABLES)),$(eval unexport $(name)))
export UV_PYTHON_DOWNLOADS := never
# Trust what the machine trusts, as other programs do: an organisation's own package index may need it.
export UV_SYSTEM_CERTS := true
# Compiled modules are kept (Airflow starts slowly without) but not beside the sources.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
# uv keeps its downloads in the home directory, or here when that cannot be written.
ifneq ($(shell test -n "$$HOME" && mkdir -p "$$HOME/.cache/uv" 2>/dev/null && test -w "$$HOME/.cache/uv" && echo yes),yes)
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
endif
# The tests of the emulator run the official client, which needs an environment of its own.
export ATAI_CLIENT_PYTHON = $(CURDIR)/$(CLIENT)/bin/python

.PHONY: help
help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo demo-stop
demo: $(AF3)/.installed ## Watch the retraining DAG run on real Airflow against the emulator; KEEP=1 leaves it running.
	@$(AF3)/bin/python -m demo $(if $(filter-out 0 no false,$(KEEP)),--keep)

demo-stop: $(AF3)/.installed ## Stop what `make demo KEEP=1` left running.
	@$(AF3)/bin/python -m demo --stop

.PHONY: test test-fast lint types system ui ui-routes ui-browser ui-3.1 ui-3.2 screenshots airflow-2.11 object-storage
test: ## Run everything: lint, types, all tests on the newest Airflow, the everyday tests on Airflow 2.11, real processes.
	@$(MAKE) --no-print-directory -j2 $(AF3)/.installed $(AF2)/.installed $(S3)/.installed $(CLIENT)/.installed $(BROWSER_ENVS)
	@$(MAKE) --no-print-directory lint types
	@$(MAKE) --no-print-directory test-fast
	@$(MAKE) --no-print-directory object-storage
	@$(MAKE) --no-print-directory airflow-2.11
	@$(MAKE) --no-print-directory system
	@$(MAKE) --no-print-directory ui
	@$(MAKE) --no-print-directory ui-3.1
	@$(MAKE) --no-print-directory ui-3.2

test-fast: $(AF3)/.installed $(CLIENT)/.installed ## Run the everyday tests on the newest Airflow.
	$(AF3)/bin/python $(PYTEST) -m "not system and not ui" -n $(WORKERS) --dist worksteal

airflow-2.11: $(AF2)/.installed $(CLIENT)/.installed ## Run the everyday tests on Airflow 2.11.
	$(AF2)/bin/python $(PYTEST) -m "not system and not ui" -n $(WORKERS) --dist worksteal -o cache_dir=.cache/pytest-2.11

object-storage: $(S3)/.installed ## Run the tests of datasets in S3, with Airflow's provider for it.
	$(S3)/bin/python $(PYTEST) tests/datasets/test_object_storage.py -o cache_dir=.cache/pytest-object-storage

system: $(AF3)/.installed ## Run the tests that start real Airflow processes.
	$(AF3)/bin/python $(PYTEST) -m system

# Two at once: most of the time one waits for a browser.
ui: .venv/browser/.installed $(CHROMIUM) ## Run the tests of the job pages: in the mounted application, and in Chromium against real processes.
	@$(MAKE) --no-print-directory -j2 --output-sync=target ui-routes ui-browser

ui-routes ui-browser: ui-%:
	.venv/browser/bin/python $(PYTEST) -m ui $(if $(filter routes,$*),tests/ui,tests/browser) -o cache_dir=.cache/pytest-$@

VISIT = .venv/browser-$(@:ui-%=%)/bin/python $(PYTEST) -m ui tests/ui tests/browser/test_smoke.py -o cache_dir=.cache/pytest-$@
ui-3.1: .venv/browser-3.1/.installed $(CHROMIUM) ## Run the same routes, and a visit in Chromium, on Airflow 3.1.
	$(VISIT)

ui-3.2: .venv/browser-3.2/.installed $(CHROMIUM) ## The same on Airflow 3.2.
	$(VISIT)

screenshots: .venv/browser/.installed $(CHROMIUM) ## Take the pictures of the documents from the real UI.
	.venv/browser/bin/python -m tests.browser.pictures

.cache/chromium:
	@command -v chromium google-chrome >/dev/null || { \
		echo "Installing Chromium from Debian's packages"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || { \
		echo "Chromium is needed, and it cannot be installed here: install the package 'chromium'." >&2; exit 1; }; }
	@mkdir -p $(@D) && touch $@

lint: $(AF3)/.installed ## Check style and formatting.
	$(AF3)/bin/ruff check --cache-dir .cache/ruff
	$(AF3)/bin/ruff format --check --cache-dir .cache/ruff

types: $(AF3)/.installed ## Check the types of the package, the demo, the benchmarks and the test harness.
	$(AF3)/bin/mypy

.PHONY: chaos benchmarks-env
chaos: $(AF3)/.installed ## Live random task lives and count broken promises: LIVES=1000 SEED=1.
	$(AF3)/bin/python -m tests.chaos --lives $(or $(LIVES),1000) --seed $(or $(SEED),1)

benchmarks-env: $(AF3)/.installed $(CLIENT)/.installed $(PEERS)/.installed ## Make the environments that benchmarks/ uses.

.PHONY: wheel lock clean
wheel: $(AF3)/.installed ## Build the wheel into dist/.
	$(UV) build -q --wheel --no-build-isolation --python $(AF3)/bin/python --out-dir dist

# --universal: one file for every platform and Python version. No addresses: packages come from wherever the user's
# own pip and uv get them, and the hashes say that they are the right ones.
COMPILE = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
# An older Airflow gets what there was on the day of its release, as its own constraints give its users.
BROWSER = pyproject.toml --extra emulator --group build --group test --group browser
lock: $(UV) ## Pin the requirements again; UPGRADE=1 takes the newest versions.
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) requirements/client.in -o requirements/client.txt
	$(COMPILE) requirements/benchmarks.in -o requirements/benchmarks.txt
	$(COMPILE) requirements/airflow-3.in pyproject.toml --extra emulator --group dev -o requirements/airflow-3.txt
	$(COMPILE) requirements/object-storage.in pyproject.toml --extra emulator --group build --group test \
		-o requirements/object-storage.txt
	$(COMPILE) $(BROWSER) requirements/browser.in -o requirements/browser.txt
	$(COMPILE) $(BROWSER) requirements/browser-3.1.in -o requirements/browser-3.1.txt --exclude-newer 2026-03-11
	$(COMPILE) $(BROWSER) requirements/browser-3.2.in -o requirements/browser-3.2.txt --exclude-newer 2026-05-29
	$(COMPILE) requirements/airflow-2.11.in pyproject.toml --extra emulator --group build --group test \
		-o requirements/airflow-2.11.txt

clean: ## Remove everything that was made here.
	rm -rf .cache .hypothesis .uv .venv dist

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $$($(PYTHON) --version) is what '$(PYTHON)' is here: make PYTHON=/path/to/python ..." >&2; \
		exit 1; }
	@echo "Installing uv into .uv"
	@rm -rf .uv
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --target .uv -r $<
	@touch $@

# $(call environment,directory,requirements,python): the packages that the file pins, and no others.
environment = echo "Installing $(2) into $(1)" && $(UV) venv -q --clear --python "$(3)" $(1) && $(UV) pip sync -q --require-hashes --python $(1)/bin/python $(2)
# The project itself, editable; what builds it is pinned like the rest, so nothing else is fetched.
project = $(UV) pip install -q --no-deps --no-build-isolation --python $(1)/bin/python --editable .

$(AF3)/.installed $(S3)/.installed $(BROWSER_ENVS): .venv/%/.installed: requirements/%.txt pyproject.toml | $(UV)
	@$(call environment,$(@D),$<,$$($(PYTHON) -c 'import sys; print(sys.executable)'))
	@$(call project,$(@D))
	@touch $@

$(AF2)/.installed: requirements/airflow-2.11.txt pyproject.toml | $(UV)
	@$(UV) python find --system '>=3.11,<3.13' >/dev/null 2>&1 || { \
		echo "Airflow 2.11 needs Python 3.11 or 3.12, and none was found on the PATH." >&2; exit 1; }
	@$(call environment,$(AF2),$<,$$($(UV) python find --system '>=3.11,<3.13' 2>/dev/null))
	@$(call project,$(AF2))
	@touch $@

$(CLIENT)/.installed $(PEERS)/.installed: .venv/%/.installed: requirements/%.txt | $(UV)
	@$(call environment,$(@D),$<,$$($(PYTHON) -c 'import sys; print(sys.executable)'))
	@touch $@
