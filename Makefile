# `make demo` and `make test` are all there is to know: both use one virtual environment, .venv, made on first use.
# Another interpreter: make test PYTHON=python3.12. More for pytest: make test ARGS="-k strategies -x".

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
LABEL_STUDIO := .venv-label-studio
MLFLOW := .venv-mlflow
BIN := $(VENV)/bin
# Scripts in .venv name their folder: a checkout that was moved or copied installs again, into the same environment.
STAMP := $(VENV)/.installed-$(shell pwd -P | cksum | cut -d ' ' -f 1)
ARGS ?=
DEVICE ?= cpu
# Threads that wait must not spin where others need the cores; dalcli sets this by itself.
TIMED := GOMP_SPINCOUNT=1000 $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-label-studio test-mlflow lint bench docs docker-check clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)  ## a complete active-learning loop on 1,797 real images
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash sample_configs/digits/demo.sh

test: $(STAMP)  ## all tests
	@$(BIN)/python -m pytest $(ARGS)

test-label-studio: $(STAMP) $(LABEL_STUDIO)/bin/label-studio  ## push to and pull from a real Label Studio (1 GB)
	@DALCLI_LABEL_STUDIO=$(CURDIR)/$(LABEL_STUDIO)/bin/label-studio \
		$(BIN)/python -m pytest tests/label_studio/test_real_server.py $(ARGS)

test-mlflow: $(STAMP) $(MLFLOW)/bin/mlflow  ## tracking against a real MLflow server on a SQLite file (1 GB)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[mlflow]'
	@DALCLI_MLFLOW=$(CURDIR)/$(MLFLOW)/bin/mlflow $(BIN)/python -m pytest tests/tracking $(ARGS)

lint: $(STAMP)  ## style, types, layers, shell scripts, generated documentation
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/python $(BIN)/lint-imports
	@$(BIN)/shellcheck .ci/run $$(find sample_configs -name '*.sh')
	@$(BIN)/python docs/generate.py --check

bench: $(STAMP)  ## how fast scoring and selection are here, small settings (10 minutes; DEVICE=cuda for a GPU)
	$(TIMED) benchmarks/engine.py --device $(DEVICE) --batches 32 128 --repeats 5 \
		--peers vmap --peer-repeats 1 --memory-repeats 1
	$(TIMED) benchmarks/exactness.py --device $(DEVICE) resnet18 densenet121 convnext_tiny swin_t
	$(TIMED) benchmarks/score_pass.py --device $(DEVICE) --images 500
	$(TIMED) benchmarks/scaling.py --device $(DEVICE) --images 500 1000 2000 --pool-repeats 1 \
		--classes 10 1000 --memory-repeats 1
	$(TIMED) benchmarks/selection.py --rows 200000

docs: $(STAMP)  ## write docs/cli.md and docs/config.md anew
	@$(BIN)/python docs/generate.py

docker-check:  ## run the Dockerfile's steps in a fresh environment, without Docker (minutes, 6 GB)
	@$(PYTHON) tests/packaging/check_dockerfile.py

clean:  ## remove the environment and everything that was built; the demo's workspace too
	rm -rf $(VENV) $(LABEL_STUDIO) $(MLFLOW) build dist demo dalcli.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(LABEL_STUDIO)/bin/label-studio:
	@$(PYTHON) -m venv $(LABEL_STUDIO)
	@$(LABEL_STUDIO)/bin/python -m pip install -qq --disable-pip-version-check label-studio

$(MLFLOW)/bin/mlflow:
	@$(PYTHON) -m venv $(MLFLOW)
	@$(MLFLOW)/bin/python -m pip install -qq --disable-pip-version-check mlflow

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "dalcli needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@echo "Installing dalcli and PyTorch into $(VENV): once, up to 6 GB, some minutes." >&2
	@$(BIN)/python -m pip install $$(test -t 1 || echo -qq) --disable-pip-version-check --editable '.[test,lint]'
	@rm -f $(VENV)/.installed-* && touch $@
