# Everything below works on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow reports-small lint format bench docs docs-serve clean

demo: $(STAMP)  ## train a small network with every method on handwritten digits, and write a report
	$(BIN)/modular-manifolds compare --data digits --out runs/digits

# one thread a process: the matrices are small, and threads that compete are far slower than one
test: $(STAMP)  ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup

test-slow: $(STAMP)  ## the checks that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup -m slow

# Every experiment at toy size, a line each, in the order in which they run: robustness attacks what compare trained.
# A new experiment joins here; its --out is added.
define SMALL
compare --seeds 2 --epochs 2
robustness runs/small/compare --images 100 --steps 20 --restarts 1
flatness runs/small/compare
soften --optimizer sgd --kappas 0,1,100 --lrs 0.03,0.3 --seeds 2 --epochs 3
transfer --widths 16,32 --depths 2,4 --width 16 --depth 2 --steps 30 --reach 1 --seeds 1
tightness --depths 3,6 --width 32 --seeds 1 --epochs 3 --effort 0.1
geometries --widths 32 --seeds 2 --epochs 1
erasure --width 64 --lrs 1/4,2 --steps 40 --rank-widths 32,64 --as-published
solvers --solvers one-step,ascent-3,exact --lrs 0.3 --seeds 2 --epochs 2
sweep --methods manifold-muon,adamw --lrs 0.003,0.03,0.3 --seeds 2 --epochs 2
sweep --data text --methods manifold-muon,sphere,adamw,muon --lrs 0.01 --seeds 1 --steps 20 --warmup 5
endef
export SMALL

reports-small: $(STAMP)  ## every experiment in small, and their reports in one file
	rm -rf runs/small
	echo "$$SMALL" | while read -r name options; do \
	  out=runs/small/$$name; if [ -e $$out ]; then out=$$out-2; fi; \
	  OMP_NUM_THREADS=1 $(BIN)/modular-manifolds $$name $$options --out $$out </dev/null || exit 1; \
	done
	$(BIN)/modular-manifolds report runs/small --out runs/small/report.html

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
