PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo

.PHONY: help demo test test-slow lint

help: ## Say what there is
	@grep -E '^[a-z.-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv: pyproject.toml constraints.txt ## Build the environment
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[demo,dev]"
	touch .venv

demo: .venv ## Train on real digits and write a report of which of them decided
	rm -rf $(OUT)
	$(BIN)/bagwise demo --out $(OUT)

test: .venv ## Run the tests and the examples in the documentation strings
	$(BIN)/pytest -n auto

test-slow: .venv ## Run the tests that take minutes
	$(BIN)/pytest -m slow

lint: .venv ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
