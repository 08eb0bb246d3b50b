# make demo: a proven int8 model in a few minutes.   make test: every check.   Each sets up what it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo lab test lint clean

setup: $(STAMP)

$(STAMP): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,tfds]'
	touch $(STAMP)

demo: setup
	$(BIN)/edgesmith run examples/mnist_demo.yaml --out runs/mnist-demo
	@echo "Open runs/mnist-demo/report.html in a browser."

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Emulated devices for the tests (tests/lab/README.md): built once, into the user's cache.
lab: setup
	$(BIN)/python -m tests.lab build

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

clean:
	rm -rf .venv runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
