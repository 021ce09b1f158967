# Every target sets up what it needs in .venv, from the exact versions in constraints.txt.
# A stamp file says that a set-up is current; it is redone when pyproject.toml or constraints.txt change.
#
#   make test PYTHON=python3.12     chooses the interpreter (3.11 or newer) that .venv is made with
#   make test PYTEST="-k fgsm"      passes options to pytest

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY := $(VENV)/.ready
LEARNER := $(CURDIR)/$(VENV)/learner
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)
PYTHON ?=
PYTEST ?=

.PHONY: help demo test lab publish lint clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; \
	done

demo: $(READY)-instructor ## Show the whole path: publish, hand in, grade, report
	$(BIN)/python -m demo

# Two tests at a time, a file's tests together; one thread each, or they would wait for each other's cores.
test: lint ## Run lint and every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

lab: $(READY)-course ## Open JupyterLab on the lessons
	JUPYTER_CONFIG_PATH="$(LEARNER)" $(BIN)/jupyter lab --ServerApp.root_dir=curriculum $(LAB)

publish: $(READY)-instructor ## Make curriculum/ from the lessons' texts
	$(BIN)/sparring publish

lint: $(READY)-dev ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean: ## Remove what builds and tests left; .venv stays
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The set-ups build on each other: torch, then what a learner needs, an instructor, a developer.

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$($$python --version)."; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "make: $$python could not make a virtual environment; on Debian: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "make: Python 3.11 or newer is needed; none of: $(or $(PYTHON),python3 python3.13 python3.12 python3.11)." \
		"Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1

# torch comes first and alone, at its exact version, so that no other requirement can pull in another build of it.
$(READY)-torch: constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV): $(TORCH). This takes a few minutes, once."
	@$(PIP) install -c constraints.txt "$(TORCH)"
	@touch $@

# A learner's JupyterLab shows Validate, and hides the panels that are for instructors.
$(READY)-course: pyproject.toml $(READY)-torch
	@echo "Setting up $(VENV): JupyterLab and nbgrader."
	@$(PIP) install -c constraints.txt -e '.[course]'
	@JUPYTER_CONFIG_DIR="$(LEARNER)" $(BIN)/jupyter labextension disable --level=user \
		@jupyter/nbgrader:formgrader @jupyter/nbgrader:create-assignment @jupyter/nbgrader:course-list 2>/dev/null
	@touch $@

$(READY)-instructor: $(READY)-course
	@echo "Setting up $(VENV): what grading needs."
	@$(PIP) install -c constraints.txt -e '.[instructor]'
	@touch $@

$(READY)-dev: $(READY)-instructor
	@echo "Setting up $(VENV): what the tests need."
	@$(PIP) install -c constraints.txt -e '.[dev,cluster]'
	@touch $@
