# Every target makes .venv if it is missing, and uses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test check soak faults power-cut memory bench clean

serve: $(VENV)/serve ## run the server: a local folder and SQLite, no configuration needed
	$(BIN)/python -m maie_aiohttp

test: $(VENV)/test ## run the tests, with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses=auto --dist=loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/test ## style, types, import contracts, known weaknesses, and a wheel that works on its own
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.weaknesses
	PYTHON=$(BIN)/python sh tests/wheel.sh

soak: $(VENV)/test ## what is long or timed: a thousand uploads at once, 5 GB, kills, interruptions, races, stalls
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.stall

faults: $(VENV)/test ## every fault at every call to disk and catalog, at every door; eight minutes
	$(BIN)/python -m tests.faults

power-cut: $(VENV)/test ## a power cut at every step of an upload, on a real ext4; as root
	$(BIN)/python -m tests.faults.power_cut raw
	$(BIN)/python -m tests.faults.power_cut tus

bench: $(VENV)/test ## speed, CPU time and memory beside other servers, which it installs itself; about an hour
	$(BIN)/python -m benchmarks

memory: $(VENV)/test ## peak memory, beside a server that reads whole files
	$(BIN)/python -m benchmarks.memory

clean: ## remove the environment and everything made
	rm -rf $(VENV) tests/clients/node/node_modules build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/serve: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/test: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@
