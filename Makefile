.PHONY: install demo test test-slow check format clean
PYTHON ?= python3
BIN := .venv/bin

# constraints.txt pins what was tested; everything comes from the package index.
install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "carsclf needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[bohb,lite0,dev]'
	@touch $@

demo: install
	@run=demo-$$(date +%Y%m%d-%H%M%S) && \
	$(BIN)/python train.py experiment=demo name=$$run && \
	$(BIN)/python evaluate.py run=runs/train/$$run split=test

# slow: real processes killed, real Ray clusters, a few minutes more
test: install
	$(BIN)/python -m pytest -m "not slow"

test-slow: install
	$(BIN)/python -m pytest -m slow -n 0

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not slow"

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist src/*.egg-info
