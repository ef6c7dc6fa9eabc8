# `make help` lists the targets. Everything lives in .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
# A model is code: one that would be unpickled is refused.
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
JOBS ?= 1
PORT ?= 5000
INSTALL := $(BIN)/pip install --disable-pip-version-check --quiet
LOCKED := --no-deps --require-hashes --requirement

.PHONY: help install run repro test check chaos bench ui lock audit clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | awk -F '\t' '{printf "make %-8s %s\n", $$1, $$2}'

install: .venv/installed  ## create .venv with the pinned dependencies

# From the lock, by hash: pip and setuptools first, so that what comes as source (antlr4) is built with them and not with a
# setuptools that pip would fetch for it. torch is not in the lock, since its build is the platform's (CPU, CUDA, Metal). All that it
# needs is, but for the CUDA libraries, which come with the CUDA build.
.venv/installed: requirements.lock pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: $(PYTHON) is Python %d.%d, but 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	awk '/^[a-z0-9]/ { wanted = /^(pip|setuptools)==/ } wanted' requirements.lock | $(INSTALL) $(LOCKED) /dev/stdin
	$(INSTALL) --no-build-isolation $(LOCKED) requirements.lock
	$(INSTALL) --only-binary :all: --constraint constraints.txt "$$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)"
	$(INSTALL) --no-build-isolation --no-deps --editable .
	$(BIN)/pip check
	$(BIN)/python -m unrolled.privatecache
	@touch $@

run: install  ## the workshop's four pairs on real data, from raw files to the report
	@$(BIN)/python -m unrolled.workshop

repro: install  ## the full grid (dvc repro); JOBS=2 runs cells side by side, one core each
	@$(BIN)/unrolled repro jobs=$(JOBS)

test: install  ## all tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: install  ## formatter, linter, type checker and the fast tests
	ruff format --check .
	ruff check .
	mypy
	$(BIN)/pytest -m "not slow" -q

# The report is written whether all faults were survived or not; the exit code is the tests'.
chaos: install  ## inject faults into the pipeline and count what it survives in reports/reliability.md
	@mkdir -p outputs && rm -f outputs/chaos.jsonl
	UNROLLED_RELIABILITY=$(CURDIR)/outputs/chaos.jsonl $(BIN)/pytest -m chaos --numprocesses 2 --dist worksteal; \
	  ended=$$?; $(BIN)/python tests/reliability.py outputs/chaos.jsonl reports/reliability.md && exit $$ended

bench: install benchmarks/.venv/installed  ## every figure of reports/benchmarks.md anew: about an hour, on an otherwise idle machine
	$(BIN)/python benchmarks/run.py

# The libraries to compare with, by hash too, beside the project's own packages, with which they share what both need: the same
# torch. Without them the rest is measured all the same, and what is missing is reported as not run.
benchmarks/.venv/installed: benchmarks/requirements.lock .venv/installed
	$(PYTHON) -m venv benchmarks/.venv
	place='import sysconfig; print(sysconfig.get_path("purelib"))'; $(BIN)/python -c "$$place" > "$$(benchmarks/.venv/bin/python -c "$$place")/project.pth"
	benchmarks/.venv/bin/pip install --disable-pip-version-check --quiet $(LOCKED) benchmarks/requirements.lock && touch $@ || echo "notice: not all libraries to compare with could be installed"

# MLflow's own list of hosts lets through 10.* and 192.168.*, names such as 10.evil.example among them. The store's address
# is no argument: it may hold a password, and arguments are everybody's to see.
ui: install  ## the MLflow UI on http://127.0.0.1:5000, or PORT=
	MLFLOW_BACKEND_STORE_URI="$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" mlflow ui --host 127.0.0.1 --port $(PORT) --allowed-hosts 127.0.0.1:$(PORT),localhost:$(PORT)

COMPILE := pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --constraint constraints.txt

# What benchmarks/ needs is resolved around the project's lock, and holds only what that has not.
lock: install  ## resolve both requirements.lock anew, with hashes of every platform's files: some minutes
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	awk 'BEGIN { print "# Written by `make lock`; without torch and the CUDA libraries, which are the platform'\''s: see the Makefile." } /^[a-z0-9#]/ { locked = !/^(#|torch==|triton==|cuda-|nvidia-)/ } locked' requirements.lock > requirements.lock.new
	mv requirements.lock.new requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file benchmarks/requirements.lock benchmarks/requirements.txt
	awk 'BEGIN { print "# Written by `make lock`; without what ../requirements.lock has, and without torch." } NR == FNR { ours[$$1]; next } /^[a-z0-9#]/ { locked = !($$1 in ours) && !/^(#|torch==|triton==|cuda-|nvidia-)/ } locked' requirements.lock benchmarks/requirements.lock > requirements.lock.new
	mv requirements.lock.new benchmarks/requirements.lock

audit: install  ## known vulnerabilities and malicious releases among the locked packages; needs the network
	@$(BIN)/python audit/advisories.py

# .dvc/cache stays: DVC takes for lost what is not in it, trains the whole grid anew, and can restore nothing.
clean:  ## remove .venv, caches, outputs/ and MLflow's runs, but neither data/, reports nor what `dvc checkout` restores
	rm -rf .venv benchmarks/.venv .pytest_cache .ruff_cache .mypy_cache outputs mlartifacts mlflow.db* dvc_plots src/*.egg-info .dvc/tmp
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
