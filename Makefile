.PHONY: install demo test test-slow check format bench clean
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

# Every claim of speed, measured here: make bench CARS=<folder of Stanford Cars>; peers included.
# search_replay.py, which takes tables of recorded trainings, is run by hand.
WITHOUT_PHOTOS := benchmarks/orchestration.py benchmarks/search_replay.py
WITH_PHOTOS := $(filter-out $(WITHOUT_PHOTOS),$(wildcard benchmarks/*.py))

bench: install
	@test -d "$(CARS)" || { echo "make bench CARS=<the folder with cars_train/ and devkit/>"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/orchestration.py
	@for script in $(WITH_PHOTOS); do \
		echo "$$script" && $(BIN)/python $$script "$(CARS)" || exit 1; \
	done

clean:
	rm -rf .venv build dist src/*.egg-info
