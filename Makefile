# The two commands of the README are `make demo` and `make test`; `make help` lists the others.
# Both install into .venv first. The stamp file remembers the installation, so that only a change
# of setup.cfg or pyproject.toml installs again.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-gps-seg

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-full test-cuda check format clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install everything into it

demo: $(STAMP)  ## fine-tune the small SAM on generated polyps (under 3 minutes)
	@$(BIN)/python tools/demo.py $(ARGS)

# One file stays in one process, which builds its shared models and runs once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(STAMP)  ## run the tests, e.g. make test ARGS='tests/sparse -k gradient'
	@$(PYTEST) -m "not full" $(ARGS)

test-all: $(STAMP)  ## run all tests: also the full cross of families and methods
	@$(PYTEST) $(ARGS)

test-full: $(STAMP)  ## run what make test leaves out
	@$(PYTEST) -m full $(ARGS)

test-cuda: $(STAMP)  ## run the tests that need a GPU, on the first one
	@export CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0}; \
	$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || { \
	    echo "no CUDA device: torch $$($(BIN)/python -c 'import torch; print(torch.__version__)') finds none" \
	        "(CUDA_VISIBLE_DEVICES=$$CUDA_VISIBLE_DEVICES); gps-seg doctor says more" >&2; exit 1; }; \
	$(BIN)/python -m pytest -m gpu $(ARGS)

check: $(STAMP)  ## ruff, mypy and import-linter
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo

format: $(STAMP)  ## let ruff repair and format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## remove .venv and caches; work_dirs and data stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find gps_seg tests tools configs -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): setup.cfg pyproject.toml
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	    $(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	        echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 | head -1); Python 3.10 to 3.13 is needed." >&2; \
	        echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
	    $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	        echo "$(PYTHON) has no venv module; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }; \
	    $(PYTHON) -m venv $(VENV); \
	fi
	@echo "Installing into $(VENV). The first time fetches about 3 GB and unpacks 6 GB: 2 to 10 minutes."
	@$(BIN)/python -u -m pip install --disable-pip-version-check --progress-bar off -e '.[mm,medical,coco,onnx,dev,bench]' \
	    | awk '/Downloading .*\([0-9][0-9][0-9.]+ [MG]B\)/ {$$1 = $$1; print "  " $$0} \
	           /^Installing collected/ {print "  unpacking " NF - 3 " packages"} \
	           /^ERROR|^error/ {print} {fflush()}'
	@touch $@
	@echo "Installed. The next call starts at once."
