# Shortcuts for contributors. `make` sets up the environment and runs tests, lint and types; `make ci` is all that must hold.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: all setup test lint types format structure ci clean

all: test lint types

setup: $(BIN)/cvdetect

$(BIN)/cvdetect: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e '.[test]'
	@touch $@

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

structure: setup
	$(BIN)/python benchmarks/structure.py

# Everything, from a fresh environment, as continuous integration runs it.
ci:
	.ci/run

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
