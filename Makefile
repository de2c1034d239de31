# From a fresh clone, with Python 3.11 and make:
#   make        set up, generate every kernel, verify every gradient, show it on real data
#   make test   the tests, in less than ten minutes on two cores; needs no torch

PYTHON  ?= $(shell for p in python3.11 python3 python; do \
             "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
WORKERS ?= 2
SAMPLE  ?=
ARGS    ?=

VENV    := .venv
RUN     := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt
READY   := $(VENV)/.ready
OTHERS  := $(VENV)/.ready-others
BENCH   := $(VENV)/.ready-bench
PROOFS  := $(VENV)/.ready-proofs
PINS    := pyproject.toml constraints.txt

# Many tests start an interpreter of their own: without bytecode each would compile 7 MB of source first.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all setup generate warm verify exact prove mutate fuzz show test test-all bench check clean help
.NOTPARALLEL:
.DELETE_ON_ERROR:

all: setup generate warm verify show  ## set up, generate, compile, verify, show

setup: $(READY)  ## the environment, with pinned dependencies

generate: $(READY)  ## derive and generate every kernel of the catalogue
	$(RUN) tools/generate.py

warm: $(READY)  ## compile the forward and VJP kernels into the cache
	$(VENV)/bin/derive-kernels warm

verify: $(READY)  ## verify every gradient, on a sample of shapes
	$(RUN) tools/verify.py --quick

exact: $(READY)  ## run every kernel over polynomials at a box of configurations (ARGS=--quick: the first two seconds of each)
	$(RUN) tools/exact.py $(ARGS)

prove: $(PROOFS)  ## prove, for all sizes, what loops visit, read and write (ARGS=--quick: strides 1 to 3)
	$(RUN) tools/prove.py $(ARGS)

mutate: $(READY)  ## plant faults in the generated kernels, count those that the tests see (ARGS='--sample 400': more of them)
	$(RUN) tools/mutate.py $(or $(ARGS),--sample 40)

show: $(READY)  ## the lecture's filters on a photograph; a ConvNet on MNIST digits
	$(RUN) examples/filters.py
	$(RUN) examples/mnist.py

test: $(READY)  ## the tests
	$(RUN) -m pytest -n $(WORKERS) -m "not slow and not external"

test-all: test $(OTHERS)  ## also the slow sweeps and comparisons (SAMPLE=0.1: a tenth of them)
	$(RUN) -m pytest -n $(WORKERS) -m "slow or external" $(if $(SAMPLE),--sample $(SAMPLE))

fuzz: $(READY)  ## calls that nobody should make: no crash, no errors but our own (ARGS='--cases 200000 --seed 1')
	$(RUN) tools/fuzz.py $(ARGS)

bench: $(BENCH)  ## time real layers beside other libraries; hours (ARGS=--short: two minutes)
	$(RUN) tools/bench.py $(ARGS)

check: $(READY)  ## lint, format, types, and that no generated file is stale
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(RUN) tools/generate.py --check

clean:  ## remove the environment, caches and pictures
	rm -rf $(VENV) out build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find benchmarks derive kernels tests tools examples -name __pycache__ -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(READY): $(PINS)
	@test -n "$(PYTHON)" || { echo "derive-kernels needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(INSTALL) hatchling
	$(INSTALL) --no-build-isolation --editable ".[test,examples,dev]"
	@touch $@

$(OTHERS): $(READY)
	$(INSTALL) --no-build-isolation --editable ".[torch,jax,autograd,external,proofs]"
	@touch $@

$(PROOFS): $(READY)
	$(INSTALL) --no-build-isolation --editable ".[proofs]"
	@touch $@

$(BENCH): $(READY)
	$(INSTALL) --no-build-isolation --editable ".[bench]"
	@touch $@
