# Everything starts from a fresh clone: each target makes what it needs.
#   make book    read it          make test    trust it          make help    the rest
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
LOCK := constraints.txt
# The first Python that the book supports; PYTHON=... overrides.
PYTHON ?= $(shell for v in 3.11 3.12 3.13 3.14 3.15; do command -v python$$v >/dev/null 2>&1 && python$$v -c 'import ensurepip' >/dev/null 2>&1 && echo python$$v && exit; done; echo python3)
PIP = $(PY) -m pip --disable-pip-version-check install --quiet

.PHONY: help doctor book test test-stable test-pretend-gpu test-matrix test-without-mxnet test-colab stamp test-newest test-colab-image test-links lint-workflows execute execute-all bench serve pdf audit preview lint types format coverage-pragmas clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

doctor: $(VENV)/.all  ## what works on this machine, and how to get the rest
	@$(PY) -m d2lutils doctor

# --- environments ---------------------------------------------------------------------

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: $(PYTHON) is not a Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 16))' || echo "make: the book is tested on Python 3.11 to 3.15, $(PYTHON) is newer"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "make: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# Rendering needs neither framework: the outputs are stored in the chapters.
$(VENV)/.book: pyproject.toml $(LOCK) | $(PY)
	@echo "make: installing what renders the book (about 150 MB)"
	@$(PIP) -c $(LOCK) -e '.[book]'
	@touch $@

# Running and testing needs both. MXNet's metadata asks for numpy<2, which Python 3.13
# and newer do not have: there it goes in beside NumPy 2.
$(VENV)/.all: pyproject.toml requirements.txt $(LOCK) | $(VENV)/.book
	@echo "make: installing both frameworks and the test tools (about 0.9 GB; 3.5 GB where PyPI serves the CUDA build of PyTorch)"
	@$(PIP) -c $(LOCK) -r requirements.txt -e '.[test]'
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 13) or sys.platform != "linux")' || exit 0; $(PY) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("mxnet") is not None)' || exit 0; $(PIP) --no-deps mxnet==1.9.1
	@touch $@

# --- the book -------------------------------------------------------------------------

book: $(VENV)/.book  ## render _build/html from the stored outputs
	@$(PY) tools/build.py

serve: book  ## render the book, then serve it on localhost
	@$(PY) tools/serve.py

preview: $(VENV)/.all book  ## the picture of the front page for README and link previews
	@$(PY) tools/preview.py

audit: $(VENV)/.all  ## Lighthouse on every page (PAGES="chapters/nin ..." for some)
	@$(PY) tools/build.py
	@$(PY) tools/audit.py $(PAGES)

pdf: $(VENV)/.all  ## the whole book as one PDF, through Chromium's print
	@$(PY) tools/build.py
	@$(PY) tools/pdf.py
	@$(PY) tools/build.py

BRANCH ?= main
stamp: $(VENV)/.all  ## where Colab installs from (URL=https://... BRANCH=main; URL= for an upload)
	@$(PY) tools/stamp.py --url "$(URL)" --branch "$(BRANCH)" --wheel "$(WHEEL)"

execute: $(VENV)/.all  ## re-run the chapters whose code changed and store their outputs
	@$(PY) tools/execute.py

execute-all: $(VENV)/.all  ## re-run all chapters
	@$(PY) tools/execute.py --all

# --- proof ----------------------------------------------------------------------------

lint: $(VENV)/.all  ## ruff, formatting (notebooks too), types and workflows
	@$(PY) tools/test.py lint

format: $(VENV)/.all  ## let ruff mend what it can
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

test: $(VENV)/.all  ## everything that CI runs
	@$(PY) tools/test.py

test-stable: $(VENV)/.all  ## stored outputs under other threads, AVX2, load (CHAPTERS="nin ..." SETTINGS="avx2 ...")
	@$(PY) tools/stable.py $(if $(CHAPTERS),--chapters $(CHAPTERS)) $(if $(SETTINGS),--settings $(SETTINGS))

# LEGS chooses by any part of a leg's name; tools/matrix.py --list has them.
test-matrix: $(VENV)/.all  ## every Python, NumPy and PyTorch that is promised (LEGS="3.12 torch2.8")
	@$(PY) tools/matrix.py $(LEGS)

test-without-mxnet:  ## the PyTorch half, every notebook and the book, in .matrix/without-mxnet
	@$(PYTHON) tools/without_mxnet.py

test-pretend-gpu: $(VENV)/.all  ## the chapters where nets and data live on two devices (CHAPTERS="nin ...")
	@$(PY) tools/pretend_gpu.py $(if $(CHAPTERS),--chapters $(CHAPTERS))

test-colab: $(VENV)/.all  ## every chapter in runtimes like Colab's (about 11 GB of environments)
	@$(PY) tools/colab.py

# Nothing is pinned but what pyproject.toml and requirements.txt say. MXNet's metadata
# holds NumPy below 2 up to Python 3.12: the newest of all is PYTHON=python3.15.
test-newest:  ## all tests with the newest versions, in .matrix/newest
	@rm -rf .matrix/newest
	@$(MAKE) --no-print-directory test VENV=.matrix/newest LOCK=/dev/null

# What is committed goes in through a pipe: the image's user need not own the clone.
COLAB_IMAGE ?= us-docker.pkg.dev/colab-images/public/runtime:latest
test-colab-image:  ## all chapters in Colab's published image (docker, tens of GB)
	@git archive HEAD | docker run --rm --interactive --entrypoint bash $(COLAB_IMAGE) -ec 'cd "$$(mktemp -d)"; tar -x; exec python3 tools/colab.py --here'

test-links: $(VENV)/.book  ## whether the addresses in the book still answer (network)
	@$(PY) tools/links.py

lint-workflows: $(VENV)/.all  ## actionlint and zizmor on .github
	@$(PY) tools/workflows.py

# Public implementations to compare with, kept out of the environment itself. Both
# frameworks get a thread for each core: MXNet by itself would take half, for both.
ZOO = pytorchcv gluoncv2 timm
bench: $(VENV)/.all  ## ratios on this machine, stored in benchmarks/results
	@test -d $(VENV)/zoo/timm || $(PIP) --no-deps --upgrade --target $(VENV)/zoo $(ZOO) || echo "make: no public implementations to compare with"
	@OMP_NUM_THREADS=$$(nproc 2>/dev/null || echo 2) $(PY) -m benchmarks $(SUITES)

coverage-pragmas: ## list the lines that only a GPU machine can run
	@grep -rn 'pragma: needs-gpu' d2lutils

clean:  ## remove what was built, keep the environment
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
