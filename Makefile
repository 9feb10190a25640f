# Everything below works on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow lint format bench docs docs-serve clean

demo: $(STAMP)  ## train a small network with every method on handwritten digits, and write a report
	$(BIN)/modular-manifolds compare --data digits --out runs/digits

# one thread a process: the matrices are small, and threads that compete are far slower than one
test: $(STAMP)  ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup

test-slow: $(STAMP)  ## the checks that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup -m slow

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## one optimizer step, as ratios to torch.optim.Muon
	$(BIN)/python -m benchmarks step

docs: $(STAMP)  ## the documentation site; whatever does not resolve is an error (with --quiet it would not be)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open $(CURDIR)/site/index.html, or make docs-serve to search it too"

docs-serve: $(STAMP)  ## the same, on http://127.0.0.1:8000, built anew as files change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache

# the constraints keep pip from fetching a GPU build of torch on a machine that has none
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)
