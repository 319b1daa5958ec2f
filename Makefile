# Each target does all of its own set-up, once, in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_TESTS := $(VENV)/.installed-for-tests
INSTALLED_FOR_DOCS := $(VENV)/.installed-for-docs
SITE ?= site
DEMO_OUTPUT ?= demo-output

.PHONY: demo test lint docs install clean

demo: $(INSTALLED)
	$(BIN)/diffusionblend demo --output $(DEMO_OUTPUT) --force

test: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m pytest
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lint: $(INSTALLED_FOR_TESTS)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(INSTALLED_FOR_DOCS)
	$(BIN)/python -m mkdocs build --strict --site-dir $(abspath $(SITE))

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(INSTALLED_FOR_TESTS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[test,browser]"
	touch $@

$(INSTALLED_FOR_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) $(SITE)
