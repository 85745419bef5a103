# make demo and make test do all of their own set-up; they need Python 3.11 or later, git, and the package registry.
PYTHON := $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/installed
COVERAGE := --cov --cov-branch --cov-report=
CODE := src tests benchmarks tools

.PHONY: demo test lint types unit sweep bench lock reference clean

demo: $(STAMP)
	@$(BIN)/python -m holdfast.demo

test: lint types unit

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later with venv was found; install one and run this again." >&2; exit 1; }
	@echo "Setting up .venv with $(PYTHON) ..."
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock \
		|| { echo "The packages of requirements.lock could not be installed; is the package registry reachable?" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: $(STAMP)
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "Run .venv/bin/ruff format $(CODE)" >&2; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)

types: $(STAMP)
	@$(BIN)/mypy

unit: $(STAMP)
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not sweep" --junitxml=.test-results.xml $(COVERAGE)
	@$(BIN)/python tools/coverage_gate.py

sweep: $(STAMP)
	@$(BIN)/python -m pytest -q

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

reference: $(STAMP)
	@$(BIN)/python tools/reference.py

lock: $(STAMP)
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/python tools/lock.py

clean:
	rm -rf .venv .demo .coverage .coverage.* .test-results.xml .mypy_cache .ruff_cache .hypothesis
