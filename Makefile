PYTHON ?= python3
BIN := .venv/bin
MINUTES ?= 5

.PHONY: setup demo test lint fuzz clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "callosum needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/callosum demo

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup
	CALLOSUM_FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/fuzz -q -s

clean:
	rm -rf .venv callosum-demo build
