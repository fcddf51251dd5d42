# Needs Python 3.11 or newer and make; everything else is set up in .venv from uv.lock.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
ARGS ?=

export UV_PYTHON_DOWNLOADS := never
# Without bytecode that is kept, each process would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help serve test test-slow check format gen bench demo setup-system clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

serve: $(READY) ## Serve on 127.0.0.1:50051 (gRPC) and :8080 (HTTP), on an embedded Valkey
	@exec $(BIN)/pantler serve $(ARGS)

# Tests wait more than half of their time: three at once keep two cores busy.
test: $(READY) ## Run the tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow" $(ARGS)

test-slow: $(READY) ## Run the chaos tests and long runs
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(ARGS)

check: $(READY) ## Check format, lint, types, import contracts, protos, generated code
	@scripts/check

format: $(READY) ## Format the code and the protos
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

gen: $(READY) ## Generate code from proto/, the synchronous client and docs/reference
	@scripts/generate .

bench: $(READY) ## Measure side by side with what a user would pick instead
	$(BIN)/python -m bench $(ARGS)

demo: $(READY) ## Drive a server with a workload like production's
	$(BIN)/python -m bench.demo $(ARGS)

setup-system: ## Install what tests need from the distribution (root on Debian)
	@scripts/setup-system

clean: ## Remove everything that was set up or cached here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The lock file decides every version, that of uv included.
$(READY): uv.lock pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Pantler needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv from uv.lock …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"uv==$$(awk '/^name = "uv"$$/ {getline; gsub(/[^0-9.]/, ""); print}' uv.lock)"
	@VIRTUAL_ENV= $(BIN)/uv sync --frozen --quiet --compile-bytecode --python $(BIN)/python
	@scripts/googleapis
	@touch $@
