# make demo    set everything up and watch GReaTer improve a prompt
# make test    lint, types and tests
# make test-fast   the unit tests without the slow ones
# make fuzz        every reader with up to a million inputs, guided by coverage: hours, see docs/reliability.md
# make test-faults runs of every method killed hundreds of times, and resumed
# make soak        an hour of runs against servers that fail, killed and resumed; memory and files watched
# make audit   known vulnerabilities of the pinned packages; says so where they could not be looked up
# make sbom    bills of materials, CycloneDX: sbom-core.json, sbom.json
# make model   train the bundled model again, from nothing
# make bench   the small benchmarks

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Idle OpenMP threads that spin slow a tiny model down by up to a hundred times on busy cores.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One after the other: an installation with more extras is one with fewer, too.
.NOTPARALLEL:
.PHONY: demo test test-fast lint types test-faults soak fuzz audit sbom model bench clean

demo: .stamp-local
	$(BIN)/steepest run greater --task arithmetic

# Files of tests side by side, as many as there are cores; what a file's tests share is made once.
test: .stamp-exports lint types
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 6 --dist loadfile

test-fast: .stamp-dev
	$(BIN)/python -m pytest -m "not slow"

fuzz: .stamp-fuzz
	PYTHONPATH=tests $(BIN)/python tests/hostile/fuzz.py $(FUZZ)

# Flags such as --may-be-offline, for those who must go on without a network.
audit: $(BIN)/python
	$(BIN)/python .ci/audit.py $(AUDIT)

sbom: $(BIN)/python
	$(BIN)/python .ci/sbom.py $(AUDIT)

test-faults: .stamp-dev
	PYTHONPATH=tests $(BIN)/python tests/faults/fault_sweep.py --kills 40 --full-disks 10

soak: .stamp-dev
	PYTHONPATH=tests $(BIN)/python tests/faults/soak.py

lint: .stamp-dev
	$(BIN)/ruff check .

types: .stamp-dev
	$(BIN)/mypy

model: .stamp-local
	$(BIN)/python -m steepest.bundled.training --out src/steepest/bundled/model

bench: .stamp-local
	$(BIN)/python bench/quality_greater.py --quick
	$(BIN)/python bench/quality_methods.py --quick
	$(BIN)/python bench/endpoint.py
	$(BIN)/python bench/greater_step.py --quick --size small bundled
	$(BIN)/python bench/evaluating.py --quick
	$(BIN)/python bench/overhead.py --quick

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Steepest needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# Bytecode is made of what is imported, when it is: most of what the exports bring never is.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
ALL := local,dev,data,hf,metrics,exports,quantize,ray,keyring

.stamp-local: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[local]'
	@touch $@

.stamp-dev: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[local,dev]'
	@touch .stamp-local $@

# The programs that prompts are exported to, 0.7 GB, run in the tests; with them come the libraries of other extras.
.stamp-exports: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[$(ALL)]'
	@touch .stamp-local .stamp-dev $@

.stamp-fuzz: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[$(ALL),fuzz]'
	@touch .stamp-local .stamp-dev .stamp-exports $@

clean:
	rm -rf $(VENV) .venv-audit .stamp-local .stamp-dev .stamp-exports .stamp-fuzz .mypy_cache .ruff_cache .pytest_cache
