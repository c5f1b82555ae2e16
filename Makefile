# Every target works in a fresh clone: it first makes what it needs.
#   make book    read it          make test    trust it          make help    the rest
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts/python.exe,bin/python)
LOCK := constraints.txt
# The first Python that the book supports; PYTHON=... overrides.
PYTHON ?= $(shell for v in 3.11 3.12 3.13 3.14 3.15; do command -v python$$v >/dev/null 2>&1 && python$$v -c 'import ensurepip' >/dev/null 2>&1 && echo python$$v && exit; done; echo python3)
PIP = $(PY) -m pip --disable-pip-version-check install --quiet
NOX = $(PY) -m nox

.PHONY: help doctor gpu-report zoo book serve preview audit pdf stamp execute execute-all lint format test test-package test-chapters test-pages test-rare test-stable test-pretend-gpu test-matrix test-without-mxnet test-newest test-colab test-colab-image test-links bench coverage-pragmas clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

doctor: $(VENV)/.all  ## what works on this machine, and how to get the rest
	@$(PY) -m d2lutils doctor

gpu-report: zoo  ## what a card computes, how fast, stored for the pages (DEVICE=cpu: not stored)
	@PYTHONPATH=$(CURDIR)/$(VENV)/zoo $(PY) -m d2lutils gpu-report $(if $(filter cpu,$(DEVICE)),--device cpu --out _build/gpu-report.json,--store $(DEVICE:%=--device %))

# --- environments ---------------------------------------------------------------------

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: $(PYTHON) is not a Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 16))' || echo "make: the book is tested on Python 3.11 to 3.15, $(PYTHON) is newer"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "make: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# Rendering needs neither framework, because the chapters have stored outputs.
$(VENV)/.book: pyproject.toml $(LOCK) | $(PY)
	@echo "make: installing what renders the book (about 150 MB)"
	@$(PIP) -c $(LOCK) -e '.[book]'
	@touch $@

# Running and testing need both. MXNet's metadata requires numpy<2, which does not exist
# for Python 3.13 and newer; there it is installed without dependencies, with NumPy 2.
$(VENV)/.all: pyproject.toml requirements.txt $(LOCK) | $(VENV)/.book
	@echo "make: installing both frameworks and the test tools (about 0.9 GB; 3.5 GB where PyPI serves the CUDA build of PyTorch)"
	@$(PIP) -c $(LOCK) -r requirements.txt -e '.[test]'
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 13) or sys.platform != "linux")' || exit 0; $(PY) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("mxnet") is not None)' || exit 0; $(PIP) --no-deps mxnet==1.9.1
	@touch $@

# For the environments with other Pythons and versions; see noxfile.py.
$(VENV)/.nox: $(LOCK) | $(PY)
	@$(PIP) -c $(LOCK) nox
	@touch $@

# --- the book -------------------------------------------------------------------------

book: $(VENV)/.book  ## render _build/html from the stored outputs
	@$(PY) -m tools.build

serve: book  ## render the book, then serve it on localhost (PORT=8000)
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),0)

preview: $(VENV)/.all book  ## the picture of the front page for README and link previews
	@$(PY) -m tools.preview

audit: $(VENV)/.all  ## Lighthouse on every page (PAGES="chapters/nin ..." for some)
	@$(PY) -m tools.build
	@$(PY) -m tools.audit $(PAGES)

pdf: $(VENV)/.all  ## the whole book as one PDF, through Chromium's print
	@$(PY) -m tools.build
	@$(PY) -m tools.pdf
	@$(PY) -m tools.build

BRANCH ?= main
stamp: $(VENV)/.all  ## where Colab installs from (URL=https://... BRANCH=main; URL= for an upload)
	@$(PY) -m tools.stamp --url "$(URL)" --branch "$(BRANCH)" --wheel "$(WHEEL)"

execute: $(VENV)/.all  ## re-run the chapters whose code changed (NOTEBOOKS="chapters/nin.ipynb" for some)
	@$(PY) -m tools.execute $(NOTEBOOKS)

execute-all: $(VENV)/.all  ## re-run all chapters
	@$(PY) -m tools.execute --all

# --- proof ----------------------------------------------------------------------------

lint: $(VENV)/.all  ## ruff, formatting (notebooks too), types, and zizmor on the workflows
	@$(PY) -m tools.test lint

format: $(VENV)/.all  ## let ruff mend what it can
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

test: $(VENV)/.all  ## all tests of a change; by stage: test-package, test-chapters, test-pages
	@$(PY) -m tools.test

test-package test-chapters test-pages: test-%: $(VENV)/.all
	@$(PY) -m tools.test $*

test-rare: $(VENV)/.all  ## what is slow and seldom red: JupyterLab, the PDF, tests of the test tools
	@$(PY) -m tools.test rare

test-stable: $(VENV)/.all  ## stored outputs under other threads, AVX2, load (CHAPTERS="nin ..." SETTINGS="avx2 ...")
	@$(NOX) --tags $(or $(SETTINGS),stable) -- $(CHAPTERS:%=chapters/%.ipynb)

# LEGS names legs or parts of their names; `nox -l` lists them.
test-matrix: $(VENV)/.nox  ## every Python, NumPy and PyTorch that is promised (LEGS="3.12 torch2.8")
	@LEGS="$(LEGS)" $(NOX) --tags $(or $(LEGS),matrix)

test-without-mxnet: $(VENV)/.nox  ## the PyTorch half, every notebook and the book, without MXNet
	@$(NOX) --session without-mxnet

test-pretend-gpu: $(VENV)/.all  ## the chapters where nets and data live on two devices (CHAPTERS="nin ...")
	@D2L_EXTENSION=tools.pretend_gpu $(PY) -m pytest -q --nbval $(if $(CHAPTERS),$(CHAPTERS:%=chapters/%.ipynb),chapters)

test-colab: $(VENV)/.nox  ## every chapter in runtimes like Colab's (about 11 GB of environments)
	@$(NOX) --tags colab

# Only pyproject.toml and requirements.txt restrict versions. Up to Python 3.12 MXNet's
# metadata keeps NumPy below 2, so the newest versions need PYTHON=python3.15.
test-newest: $(VENV)/.nox  ## all tests with the newest versions of everything
	@$(NOX) --session newest

# The commit is piped in, so that the image's user need not own the clone.
COLAB_IMAGE ?= us-docker.pkg.dev/colab-images/public/runtime:latest
test-colab-image:  ## all chapters in Colab's published image (docker, tens of GB)
	@git archive HEAD | docker run --rm --interactive --entrypoint bash $(COLAB_IMAGE) -ec 'cd "$$(mktemp -d)"; tar -x; exec python3 -m tools.colab'

# It asks other people's servers, so it is no part of the tests.
test-links: $(VENV)/.book  ## whether the addresses in the book still answer (network)
	@$(dir $(PY))jupyter-book build . --builder linkcheck --quiet --path-output _build/links

# Public implementations for comparison, kept out of the environment itself. Both
# frameworks get one thread per core, because MXNet would otherwise limit both to half.
ZOO = pytorchcv gluoncv2 timm
zoo: $(VENV)/.all
	@test -d $(VENV)/zoo/timm || $(PIP) --no-deps --upgrade --target $(VENV)/zoo $(ZOO) || echo "make: no public implementations to compare with"

bench: zoo  ## ratios on this machine, stored in d2lutils/results
	@OMP_NUM_THREADS=$$(nproc 2>/dev/null || echo 2) $(PY) -m benchmarks $(SUITES)

coverage-pragmas: ## list the lines that only a GPU machine can run
	@grep -rn 'pragma: needs-gpu' d2lutils

clean:  ## remove what was built, keep the environment
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
