# Every target sets up what it needs and may be called again at any time.
.PHONY: help run test test-fast lint bench clean
.DEFAULT_GOAL := help

PY := .venv/bin/python
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.run: hack/setup pyproject.toml constraints.txt
	hack/setup run

.venv/.dev: hack/setup pyproject.toml constraints.txt
	hack/setup dev

run: .venv/.run  ## set up, then ten silos train on handwritten digits over mutual TLS
	.venv/bin/umbel run examples/digits/job.yaml

test: .venv/.dev lint  ## set up, then everything: lint, types, layers, all tests
	$(PY) -m pytest -n 2 --dist worksteal

test-fast: .venv/.dev  ## the inner loop: no processes, no frameworks
	$(PY) -m pytest -n 2 --dist worksteal -m "not process and not frameworks"

lint: .venv/.dev  ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.dev  ## speed and memory of a round, as docs/performance.md explains
	$(PY) benchmarks/rounds.py

clean:  ## remove the virtual environment and what runs left here
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
