PYTHON ?= python3
BIN := .venv/bin
OUT ?= demo
unexport PYTHONDONTWRITEBYTECODE # or each of a hundred commands that tests start would compile the package anew

.PHONY: help demo test test-slow test-all lint docs package bench growth

help: ## Say what there is
	@grep -E '^[a-z.-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv: pyproject.toml constraints.txt ## Build the environment
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable ".[demo,slides,onnx,dev,docs]"
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # as pip would, but on all processors
	touch .venv

demo: .venv ## Train on real digits and write a report of which of them decided
	rm -rf $(OUT)
	$(BIN)/bagwise demo --out $(OUT)

test: .venv ## Run the tests and the examples in the documentation strings
	$(BIN)/pytest -n auto --dist worksteal --durations 15

test-slow: .venv ## Run the tests that take minutes
	$(BIN)/pytest -m slow -n auto --dist worksteal --durations 15

test-all: .venv ## Run both, those that take longest first
	$(BIN)/pytest -m "" -n auto --dist worksteal --durations 15

lint: .venv ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv ## Build the pages into site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: .venv ## Build the package and try it where nothing is but what it says it needs
	$(BIN)/pytest -m slow tests/test_package.py

.bench: constraints.txt ## Build the environment of the libraries that the benchmarks compare with
	$(PYTHON) -m venv .bench
	.bench/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch numpy scipy pandas h5py tqdm einops tensordict torchmetrics lightning pytorch-lightning scikit-learn
	.bench/bin/pip install --quiet --disable-pip-version-check --no-deps torchmil==1.0.2 mikit-learn==1.0.6
	touch .bench

bench: .venv .bench ## Time Bagwise against its rivals; ONLY=name runs one
	$(BIN)/python benchmarks/run.py --rival .bench/bin/python $(if $(ONLY),--only $(ONLY))

growth: .venv ## Measure and draw how the cost of training grows
	$(BIN)/python benchmarks/growth.py
