# Tidings: `make demo` and `make test` are all that a newcomer needs.
# They share one virtual environment (.venv), made and kept up to date by tools/setup.

.DEFAULT_GOAL := help
.PHONY: help setup test-tools demo test test-all lint format bench clean

BIN := .venv/bin

# One thread for each process: the processes use the cores, and two threads that compete
# for one core are many times slower than one.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

help: ## show this list
	@if [ -t 1 ]; then name=$$(printf '\033[1;36m'); off=$$(printf '\033[0m'); fi; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target words; do \
	  printf '  %s%-10s%s %s\n' "$$name" "$$target" "$$off" "$$words"; done

setup: ## make .venv and install what is needed; at once when nothing changed
	@tools/setup

demo: setup ## set up, then run the quick start: ten peers, real links, private deltas
	@$(BIN)/tidings run quickstart

test: lint test-tools ## set up, lint, type-check, then every test but the nightly ones
	$(PYTEST) -m 'not nightly and not alone'
	$(BIN)/python -m pytest -m 'alone and not nightly'

test-all: lint test-tools ## the same with the nightly tests
	$(PYTEST) -m 'not alone' --timeout 3600
	$(BIN)/python -m pytest -m alone --timeout 3600

test-tools: ## make sure that there are a mosquitto and a browser for the tests
	@tools/setup-test-tools

lint: setup ## ruff, mypy (strict) and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tools/*.py
	$(BIN)/python tools/check_imports.py

format: setup ## rewrite the code as ruff would have it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## run every benchmark; benchmarks/README.md says what each one measures
	@for file in benchmarks/*.py; do case $$file in */_*) ;; *) \
	  echo "== $$file"; $(BIN)/python "$$file" || exit 1;; esac; done

clean: ## remove .venv, caches and builds; runs/ stays
	rm -rf .venv build dist *.egg-info src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find crypto gossip peer scenarios src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
