# What a contributor and CI call. Everything is installed into .venv at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?=
LEAK ?=
PYTEST_ARGS ?=
QUICK ?=
JSON ?=
ONLY ?=

.PHONY: help demo test servers lint format bench soak docs picture clean
help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.ready  ## a bot, a crash, a halt: on a terminal until Ctrl-C, else 30 s (SECONDS=20 to bound it)
	@$(BIN)/python examples/demo.py $(if $(SECONDS),--seconds $(SECONDS))

test: $(VENV)/.ready  ## all tests; PYTEST_ARGS="-k halt" narrows them
	$(BIN)/python -m pytest $(PYTEST_ARGS)

servers: $(VENV)/.ready  ## build the Collector, Prometheus, Jaeger and Alertmanager that tests/stack runs against (ten minutes, once)
	$(BIN)/python tests/servers.py

lint: $(VENV)/.ready  ## style, types, the arrows between the rooms, and lines a room
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@echo "lines a room:"; for room in src/tradewatch/*/; do \
	  printf '%6d  %s\n' "$$(find $$room -name '*.py' -exec cat {} + | wc -l)" "$$(basename $$room)"; done

format: $(VENV)/.ready  ## put the code in style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready  ## what tradewatch costs beside naive OpenTelemetry, prometheus_client and nothing (QUICK=1: one minute; JSON=file)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

soak: $(VENV)/.ready  ## ten minutes of a busy bot with faults: nothing grows, nothing is lost uncounted (SECONDS=30 for less)
	@$(BIN)/python -m benchmarks.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(LEAK),--leak $(LEAK))

docs: $(VENV)/.ready  ## write what is generated: two pages of docs/, and the default rules as JSON
	$(BIN)/python -m tradewatch.semconv > docs/semantic-conventions.md
	$(BIN)/python -m tradewatch.settings > docs/configuration.md
	$(BIN)/python -m tradewatch.rules > src/tradewatch/rules/default.json

picture: $(VENV)/.ready  ## draw docs/live-view.svg from a run of the demo (half a minute)
	@$(BIN)/python examples/picture.py

clean:  ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Checked before anything is made, and removed where the installation fails, so that nothing half made is left.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "tradewatch needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its venv package is missing. On Debian and Ubuntu: apt install python3-venv; on Fedora: dnf install python3-pip" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@rm -rf $(VENV)
	@{ $(PYTHON) -m venv $(VENV) && PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server,dev]'; } \
	  || { rm -rf $(VENV); echo "the set-up failed and was taken back; pip's message is above. Is the package index reachable?" >&2; exit 1; }
	@touch $@
