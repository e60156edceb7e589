# `make demo` plays one release; `make test` runs all tests. Both do their own set-up, and nothing twice.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint benchmark docs browser clean

demo: $(STAMP) browser
	@$(BIN)/releasegate demo $(if $(BREAK),--break $(BREAK))

test: $(STAMP) browser
	@command -v npm >/dev/null || { echo "missing: npm, which builds Allure's report (Debian: npm)" >&2; exit 1; }
	@$(BIN)/python -m pytest -n 2 --dist worksteal --timeout 300 $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

benchmark: $(STAMP)
	@$(BIN)/python -m benchmarks

docs: $(STAMP)
	@$(BIN)/python docs/generate.py

browser: $(STAMP)
	@$(BIN)/python scripts/browser.py

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: python3, 3.11 or newer" >&2; exit 1; }
	@command -v git >/dev/null || { echo "missing: git" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python 3.11 or newer; make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "missing: the venv module (Debian: python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	@$(BIN)/releasegate schema --output gates/.schema.json >/dev/null
	@touch $@

clean:
	@-$(BIN)/releasegate demo down
	@rm -rf $(VENV) .demo .releasegate
