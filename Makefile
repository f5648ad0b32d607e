# Every target sets up what it needs and may be called again at any time.
.PHONY: help run test test-fast lint bench monitoring pictures charts cluster cluster-down clean
.DEFAULT_GOAL := help

PY := .venv/bin/python
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
# Thousands of processes are started: each module is compiled once, and not by each of them.
export PYTHONDONTWRITEBYTECODE :=

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.run: hack/setup pyproject.toml constraints.txt
	hack/setup run

.venv/.dev: hack/setup pyproject.toml operator/pyproject.toml constraints.txt
	hack/setup dev

.venv/.cluster: hack/setup .venv/.dev $(wildcard hack/tools/*/go.sum)
	hack/setup cluster

.venv/.monitoring: hack/setup .venv/.dev
	hack/setup monitoring

.venv/.slurm: hack/setup .venv/.dev
	hack/setup slurm

run: .venv/.run  ## set up, then ten silos train on handwritten digits over mutual TLS
	.venv/bin/umbel run examples/digits/job.yaml

test: .venv/.cluster .venv/.monitoring .venv/.slurm lint  ## set up, then everything: lint, types, layers, all tests
	hack/tests

test-fast: .venv/.dev  ## the inner loop: no processes, no frameworks
	$(PY) -m pytest -n 2 --dist worksteal -m "not process and not frameworks and not api and not cluster and not slurm"

lint: .venv/.dev  ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.dev  ## speed and memory of a round, as docs/performance.md explains
	$(PY) benchmarks/rounds.py

monitoring: .venv/.dev  ## write the Grafana pages and the alerts that the chart ships
	cd monitoring && ../$(PY) -m umbel_monitoring

pictures: .venv/.cluster .venv/.monitoring  ## draw the previews of the pages, from a job that the tests play
	cd tests && ../$(PY) -m monitoring.draw ../docs/pictures

charts: .venv/.dev  ## write what of the charts follows from their schemas, crds/ and monitoring/
	$(PY) hack/chartdoc.py

cluster: .venv/.cluster  ## a real Kubernetes on this machine (root; NAME=b for a second one)
	cd hack/cluster && $(SUDO) ../../$(PY) -m umbel_cluster up $(or $(NAME),dev)

cluster-down:  ## remove every trace of it
	cd hack/cluster && $(SUDO) ../../$(PY) -m umbel_cluster down $(or $(NAME),dev)

clean:  ## remove the virtual environment and what runs left here
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
