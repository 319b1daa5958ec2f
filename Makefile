# Each target does all of its own set-up, once, in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_TESTS := $(VENV)/.installed-for-tests
INSTALLED_FOR_DOCS := $(VENV)/.installed-for-docs
INSTALLED_FOR_DIST := $(VENV)/.installed-for-dist
SITE ?= site
DEMO_OUTPUT ?= demo-output

# Other versions than those of .venv, for `make compat`; each in an environment of its own. UV
# installs them: UV_TORCH_BACKEND=cpu in the environment saves gigabytes where that index is reached.
NEWEST_PYTHON ?= 3.14
LOWEST_PYTHON ?= 3.11
COMPAT_TESTS ?= tests/golden tests/io tests/evaluation tests/report tests/solvers tests/priors

.PHONY: demo test lint types spelling coverage docs dist lowest newest compat train-priors install clean

demo: $(INSTALLED)
	$(BIN)/diffusionblend demo --output $(DEMO_OUTPUT) --force

# One test process a core, each with one thread: more threads than cores slow each other down. The
# commands that tests start need not be compiled each time, whatever the environment says.
test: $(INSTALLED_FOR_TESTS)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/codespell

lint: $(INSTALLED_FOR_TESTS)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m mypy

spelling: $(INSTALLED_FOR_TESTS)
	$(BIN)/codespell

coverage: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m coverage run -m pytest $(TESTS)
	$(BIN)/python -m coverage report

docs: $(INSTALLED_FOR_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir $(abspath $(SITE))

# The wheel is installed where nothing of this folder is seen, and its demo run there, small.
dist: $(INSTALLED_FOR_DIST)
	rm -rf dist build/wheel
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet "$(TORCH)"
	build/wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd build && wheel/bin/diffusionblend demo --output demo --force --steps 2

# The long training of the shipped priors, outside the tree: DO=start, pause, resume, stop or status.
DO ?= start
train-priors: $(INSTALLED)
	$(BIN)/python benchmarks/train_priors.py $(DO) $(if $(VOLUMES),--volumes $(VOLUMES)) \
		$(if $(VALIDATION),--validation $(VALIDATION))

compat: lowest newest

# The lowest versions of what pyproject.toml asks for, and the newest Python that torch serves.
lowest: $(INSTALLED)
	$(call tried_with,lowest,$(LOWEST_PYTHON),--resolution lowest-direct)

newest: $(INSTALLED)
	$(call tried_with,newest,$(NEWEST_PYTHON),)

define tried_with
$(BIN)/python -m pip install --quiet uv
$(BIN)/uv venv --quiet --clear --python $(2) build/$(1) || \
	{ echo "Python $(2) is neither here nor could it be fetched. Expected: a version or the path of one. Try: make newest NEWEST_PYTHON=python3.13"; exit 1; }
$(BIN)/uv pip install --quiet --python build/$(1) $(3) --editable . --group test
$(BIN)/uv pip freeze --quiet --python build/$(1)
build/$(1)/bin/python -m pytest --override-ini filterwarnings=default $(COMPAT_TESTS)
endef

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(INSTALLED_FOR_TESTS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group test --group types
	touch $@

$(INSTALLED_FOR_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	touch $@

$(INSTALLED_FOR_DIST): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dist
	touch $@

clean:
	rm -rf $(VENV) build dist $(DEMO_OUTPUT) $(SITE) .coverage
