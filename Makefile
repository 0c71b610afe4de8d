# All work happens in .venv; `make` alone lists what one can do.
PYTHON ?= python3
BIN := .venv/bin
export ORT_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help install demo serve test lint types protos bench image clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

install: .venv/.installed  ## install polserve with every extra into .venv

.venv/.installed: pyproject.toml constraints.txt
	@echo 'installing into .venv: a few minutes, about 2 GB'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[training,atari,dev]'
	touch $@

demo: install  ## train, register, promote, serve and play CartPole; ONCE=1 stops after the report
	$(BIN)/python -m training.demo $(if $(ONCE),--once)

serve: install  ## serve the bundled policies
	$(BIN)/polserve serve

test: install  ## run the tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: install  ## check style, formatting and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install  ## check types
	$(BIN)/mypy

protos: install  ## generate the Python messages and stubs
	$(BIN)/python -m protos.generate

bench: install  ## print the tables of the README (hours; QUICK=1 for a short run)
	for name in startup serving transports rollout peers control promotion arcade frames adbudget ledger; do $(BIN)/python benchmarks/$$name.py $(if $(QUICK),--quick) || exit 1; done

image: ## build the container image with docker, or ENGINE=podman
	$(or $(ENGINE),docker) build --tag polserve .

clean:  ## delete what was installed and generated
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo runs build dist
