# Two commands on a fresh machine with Python (3.11 or newer), pip and make:
#   make demo    train on a built-in world and leave demo/report.html
#   make test    run the tests, two at a time (PROCESSES=1: one; PYTEST="...": pytest's own arguments)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROCESSES ?= 2

.PHONY: demo test lint format docs viewer clean

demo: $(READY)
	$(BIN)/plurimask demo --out demo --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup $(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages and tables that are made from the code.
docs: $(READY)
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python docs/make_methods.py
	$(BIN)/python docs/make_metrics.py

# The page of `plurimask view`, from viewer/ into the package; needs node 20.19 or newer. Its build is committed: users need no node.
viewer:
	npm --prefix viewer ci --no-audit --no-fund
	npm --prefix viewer test
	npm --prefix viewer run build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) demo
