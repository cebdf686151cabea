# Everything runs in a virtual environment of its own, made on first use:
#   make demo      the main job as a transcript over HTTP, then a server to try it (SERVE=0: transcript only)
#   make test      the quick tests: all on SQLite, and on PostgreSQL and MariaDB, with Redis, where they answer, those
#                  whose result the server decides; with JavaScript clients where there is node
#   make test-all  everything on all of them, with all rounds, and with a floor for what is covered
#   make faults    what is left when a process, a database, a disk or Redis fails in the middle of something, as a table;
#                  starts and kills servers of its own, from the programs of PostgreSQL, MariaDB and Redis
#   make lint      ruff and mypy
#   make tox       the tests on every supported pair of Python and Django (TOX_ARGS: arguments for tox)
#   make fuzz      hostile inputs for every parser and endpoint (FUZZ_ARGS: arguments for tests/fuzz)
#   make simulation  months of honest clients and thieves, with a moved clock (SIMULATION_ARGS: for tests/simulation)
#   make bench     measure against djangorestframework-simplejwt
#   make clean     remove what the above made
# TEST_ARGS passes arguments on to tests/run.py, to tests/faults and to pytest.

PYTHON ?= python3
PORT ?= 8000
SERVE ?= 1
TEST_ARGS ?=
TOX_ARGS ?= run
FUZZ_ARGS ?=
SIMULATION_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.NOTPARALLEL:
.PHONY: demo test test-all faults fuzz simulation lint tox bench clean

demo: $(VENV)/.example
	$(BIN)/python -m example_project.demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

test: $(VENV)/.test
	$(BIN)/python tests/run.py $(TEST_ARGS)

test-all: $(VENV)/.test
	$(BIN)/python tests/run.py --all $(TEST_ARGS)

faults: $(VENV)/.test
	$(BIN)/python -m tests.faults $(TEST_ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

simulation: $(VENV)/.test
	$(BIN)/python -m tests.simulation $(SIMULATION_ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# pyenv's shims answer for one version only, so the bin directories of all its versions go on the PATH.
tox: export PATH := $(PATH)$(shell command -v pyenv >/dev/null && printf ':%s/bin' "$$(pyenv root)"/versions/*)
tox: $(VENV)/.tox
	$(BIN)/tox $(TOX_ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .tox .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache example_project/var/* tests/javascript/node_modules

$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

# One stamp per dependency group: .venv/.test says that the package and its group `test` are installed.
$(VENV)/.%: pyproject.toml $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable . --group $*
	touch $@
