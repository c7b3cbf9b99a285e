# make check    style, types and import rules
# make test     checks, then all tests (as root it installs the Debian packages that are missing); ONLY=cluster: the
#               tests of tests/cluster, ONLY="pure services": of both
# make test-fast   what needs no server, and the services on SQLite, but for what takes longest: for every save
# make seconds  all tests, and tests/seconds.txt anew: how long each takes, from which follows who runs which when
# make demo     the whole of Stoker on this machine, with a real job; needs python3 (3.11), python3-venv and make
# make bench    measurements; JSON in bench/results
# make stack    PostgreSQL, Redis, a SLURM cluster and the services, in containers; make stack-down removes them
# make stack-test   the same in containers of its own, tested; starts Docker where it does not run (root)
# make wheels   what is published, in dist: stoker (clients, command line) and stoker-server (the programs)
# make lock     requirements/*.txt anew from what the two wheels need (UPGRADE=--upgrade for the newest versions)
# make clean    what these targets made

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: check check-style check-format check-types check-imports check-oldest test test-fast seconds demo bench stack \
    stack-down stack-test wheels lock clean packages venv venv-dev

PYTHON ?= python3
VENV := .venv
DIST := dist
SERVER := wheels/stoker-server
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# What the tests start or install; the commands are what is looked for.
DEBIAN_PACKAGES := postgresql redis-server python3-venv \
    slurmctld slurmd slurmdbd slurm-client munge mariadb-server sudo \
    openssh-server openssh-client tcsh fish

PYTEST := $(BIN)/python -m pytest --timeout 300 --durations 10
# Workers wait for servers and schedulers more than they compute: more of them than there are processors.
WORKERS ?= 4

test: packages check
	$(PYTEST) -n $(WORKERS) --dist worksteal $(patsubst tests/tests/%,tests/%,$(ONLY:%=tests/%)) $(PYTEST_ARGUMENTS)

test-fast: $(VENV)/.dev
	STOKER_TEST_DATABASES=sqlite STOKER_TEST_LONGEST_SECONDS=2 $(PYTEST) -n $(WORKERS) --dist worksteal tests/pure tests/services $(PYTEST_ARGUMENTS)

seconds: packages $(VENV)/.dev
	STOKER_TEST_WRITE_SECONDS=1 $(PYTEST) -n $(WORKERS) --dist worksteal

# Side by side; each says what it has to say in one piece.
check: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs --keep-going --output-sync=target \
	    check-style check-format check-types check-imports check-oldest

check-style:
	$(BIN)/ruff check .

check-format:
	$(BIN)/ruff format --check .

check-types:
	$(BIN)/mypy

check-imports:
	$(BIN)/lint-imports --no-logo

# What runs on clusters, on the oldest Python there.
check-oldest:
	$(BIN)/vermin --quiet --no-tips --violations --target=3.9- --eval-annotations \
	    shared/remote/agent shared/remote/runner shared/remote/common shared/remote/builder

demo: $(VENV)/.embedded
	$(BIN)/stoker demo

bench: $(VENV)/.dev
	mkdir -p bench/results
	for file in bench/*.py; do PYTHONPATH=. $(BIN)/python $$file; done

stack:
	containers/start

# Volumes stay, and with them resources, keys and jobs: containers/compose down --volumes removes all.
stack-down:
	containers/compose down --remove-orphans

# Status 77 says, with the reason, that there can be no Docker here; MAY_SKIP=77 lets that pass.
stack-test: $(VENV)/.dev
	tests/compose/run $(PYTEST_ARGUMENTS) || test $$? = "$(MAY_SKIP)"

# Stamps: nothing is installed again while the lists are the same. What developers have includes the rest.
$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $(VENV)/.embedded $@

$(VENV)/.embedded: requirements/embedded.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/embedded.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than 3.11: set PYTHON=/path/of/a/newer/one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "Python's venv module is incomplete: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

packages:
	@.ci/packages $(DEBIAN_PACKAGES)

# No index is asked, not even for what builds them.
wheels: $(VENV)/.dev
	rm -f $(DIST)/stoker-*.whl $(DIST)/stoker_server-*.whl
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-index --no-deps --no-build-isolation \
	    --wheel-dir $(DIST) . $(SERVER)

# The versions of dev.txt hold for all of them: what is tested is what is shipped.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-emit-package stoker --no-header $(UPGRADE)
lock: $(BIN)/uv
	$(COMPILE) --all-extras --group dev pyproject.toml $(SERVER)/pyproject.toml -o requirements/dev.txt
	$(COMPILE) --extra embedded --group build -c requirements/dev.txt $(SERVER)/pyproject.toml -o requirements/embedded.txt
	for service in registry executor poller; do \
	    $(COMPILE) --extra $$service -c requirements/dev.txt $(SERVER)/pyproject.toml -o requirements/$$service.txt; done
	! grep -nE '^ *--?[a-z]|://|file:| @ ' requirements/*.txt | grep -vE '^[^:]+:[0-9]+: +--hash=sha256:'

$(BIN)/uv: | $(BIN)/python
	test -x $@ || $(PIP) uv

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist bench/results
	find . -name __pycache__ -prune -exec rm -rf {} +
