# Five commands: demo, test, lint, bench, faults. Each sets the installation up first if it is not there.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-deps
INSTALLED := .venv/.installed

.PHONY: demo test lint bench faults

demo: $(INSTALLED)
	@$(BIN)/python -m tdsys demo

# By file, because a file's tests share its fixtures; in order, because the long ones come first.
# Three processes on two cores, because many tests wait for servers that start and end.
# Compiled first: under PYTHONDONTWRITEBYTECODE each of a thousand processes would do it again (0.7 s).
test: $(INSTALLED)
	@echo "Every test, on three processes; twelve to twenty minutes, each dot is one"
	@$(BIN)/python -m compileall -q tdsys
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not bench"

lint: $(INSTALLED)
	@echo "ruff, mypy strict, the import contracts and the house rules; about half a minute"
	@$(BIN)/python -m pytest tests/unit/test_house.py

bench: $(INSTALLED)
	@echo "Measurements, each beside its baseline; best on a quiet machine; about twenty-five minutes"
	@$(BIN)/python -m pytest -m bench -s

faults: $(INSTALLED)
	@echo "Two hundred times one fault at a random moment, plain Celery beside it; half an hour on a quiet machine, then a table"
	@$(BIN)/python -m pytest --long tests/faults -s

# venv and pip say nothing while they work, so a counter speaks for them; it ends with this shell.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 15) else "tdsys needs Python 3.11 to 3.14; this is " + sys.version.split()[0] + ": run make PYTHON=python3.12")'
	@echo "Installing into .venv from requirements.lock (hash-checked); the log is .venv/install.log"
	@mkdir -p .venv
	@while sleep 2 && kill -0 $$$$ 2>/dev/null; do \
	  if [ ! -s .venv/install.log ]; then echo "  making .venv"; continue; fi; \
	  echo "  fetched $$(grep -cE '^(Collecting|Processing|Ignoring|Requirement)' .venv/install.log) of $$(grep -c '==' requirements.lock), installed $$(ls -d .venv/lib/python*/site-packages/*.dist-info 2>/dev/null | wc -l)"; done & counter=$$!; \
	{ $(PYTHON) -m venv .venv && $(PIP) --require-hashes -r requirements.lock && $(PIP) --no-build-isolation -e .; } > .venv/install.log 2>&1 || failed=1; \
	kill $$counter; \
	[ -z "$$failed" ] || { tail -n 5 .venv/install.log; echo "The installation failed; the whole log is .venv/install.log"; exit 1; }
	@touch $@
