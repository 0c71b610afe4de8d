# All work happens in .venv; `make` alone lists what one can do.
PYTHON ?= python3
BIN := .venv/bin
export ORT_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
# Tests start hundreds of services: where nothing may be kept compiled, each would compile every module again.
export PYTHONDONTWRITEBYTECODE :=

# A newer pip than Python brings shows how far installing is, too.
PIP_INSTALL = $(BIN)/pip --disable-pip-version-check install --quiet --upgrade 'pip>=25.1' && \
	$(BIN)/pip --disable-pip-version-check install --constraint constraints.txt --editable '.[training,atari,otel,tensorboard,dev]'
# Where no terminal shows pip's own progress: a line every ten seconds, and the log's end where it fails.
told = { export PIP_PROGRESS_BAR=off; $(1); } >.venv/install.log 2>&1 & pid=$$!; trap "kill $$pid" INT TERM; s=0; \
	while kill -0 $$pid 2>/dev/null; do sleep 1; s=$$((s + 1)); [ $$((s % 10)) -ne 0 ] || \
	printf '  %s s, %s MB: %s\n' $$s "$$(du -sm .venv | cut -f 1)" "$$(grep -iv uninstall .venv/install.log | tail -n 1 | cut -c 1-90)"; done; \
	wait $$pid || { tail -n 15 .venv/install.log; echo 'installing failed; the whole log is .venv/install.log'; exit 1; }

.PHONY: help install demo serve check test acceptance lint types protos hostile fuzz bench image lock audit sbom clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: .venv/.installed  ## install polserve with its extras into .venv

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("polserve needs Python 3.11 or later; give one: make install PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@rm -f $@
	$(PYTHON) -m venv .venv
	@echo 'installing into .venv: a few minutes, about 2 GB'
	@if [ -t 1 ]; then $(PIP_INSTALL); else $(call told,$(PIP_INSTALL)); fi
	@$(BIN)/python -m compileall -q protos serving training polserve  # as pip does with what it copies
	@touch $@

demo: install  ## train two CartPole policies, promote one on evidence, serve and play it; ONCE=1 does not wait
	$(BIN)/python -m polserve.training.demo $(if $(ONCE),--once)

serve: install  ## serve the bundled policies
	$(BIN)/polserve serve

# Two processes share the cores: a second thread of torch in each would only wait for the other process.
TWO_PROCESSES := --numprocesses 2 --dist loadfile --no-loadscope-reorder
check test acceptance: export OMP_NUM_THREADS := 1

check: lint types  ## the fast lane: lint, types, and the tests that start no process and train nothing
	$(BIN)/pytest --fast $(TWO_PROCESSES)

test: install  ## run the tests that need Python alone and seconds each: nearly all of them
	$(BIN)/pytest -m 'not acceptance' $(TWO_PROCESSES)

acceptance: install  ## run the others: whole guides, other programs and environments, MLflow servers
	$(BIN)/pytest -m acceptance $(TWO_PROCESSES)

lint: install  ## check style, formatting and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install  ## check types
	$(BIN)/mypy

protos: install  ## generate the Python messages and stubs
	$(BIN)/python -m polserve.protos.generate

SESSIONS ?= 1000000
hostile: install  ## throw a million changed sessions at the service (half an hour or more; SESSIONS=N for another number)
	HOSTILE_SESSIONS=$(SESSIONS) $(BIN)/pytest -q -s tests/serving/grpc/test_mutated_sessions.py

FUZZ_S ?= 60
fuzz: install  ## fuzz each target by coverage for FUZZ_S seconds (TARGETS="front calls" for some of them)
	$(BIN)/pip --disable-pip-version-check install --quiet 'atheris>=3.0,<4'
	for target in $(or $(TARGETS),$$($(BIN)/python -m tests.fuzz --list)); do \
	$(BIN)/python -m tests.fuzz $$target -max_total_time=$(FUZZ_S) || exit 1; done

bench: install  ## measure the figures in docs/benchmarks.md (hours; QUICK=1 for a short run)
	for name in startup act security reliability steps idle limit client transports rest rollout peers control algorithms promotion arcade zeroing frames adbudget response ledger imports; do $(BIN)/python -m benchmarks.$$name $(if $(QUICK),--quick) || exit 1; done

image: ## build the container image with docker, or ENGINE=podman
	$(or $(ENGINE),docker) build --tag polserve .

lock: install  ## write deploy/requirements.txt, from which the image is built, after a change of constraints.txt
	$(BIN)/python -m deploy.lock

audit: .venv/tools/.installed  ## look up known vulnerabilities of what is pinned; fails where nobody can be asked, too
	$(BIN)/python -m deploy.audit

sbom: .venv/tools/.installed  ## write dist/polserve.cdx.json, the bill of materials of the Python packages; with IMAGE=polserve, of that image too
	@mkdir -p dist
	.venv/tools/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-format JSON --output-file dist/polserve.cdx.json deploy/requirements.txt
	$(if $(IMAGE),$(BIN)/python -m deploy.image_bill --engine $(or $(ENGINE),docker) $(IMAGE))

.venv/tools/.installed: deploy/tools.txt | .venv/.installed
	$(BIN)/python -m venv .venv/tools
	.venv/tools/bin/pip --disable-pip-version-check install --quiet --requirement deploy/tools.txt
	@touch $@

clean:  ## delete what was installed and generated
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo runs build dist
