.PHONY: install demo test test-slow notebook check format bench clean
PYTHON ?= python3
BIN := .venv/bin

# constraints.txt pins what was tested; everything comes from the package index.
install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "carsclf needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[bohb,lite0,dev]'
	@touch $@

# one set-up throughout (conf/experiment/demo_*.yaml): a search in each mode, which trains the
# configuration it was composed with first and ends with a final; the final's runs judged on test;
# the page, which takes them along. So a figure said twice is the same figure.
demo: install
	@set -e; demo=runs/demo-$$(date +%Y%m%d-%H%M%S); run=$(BIN)/python; \
	$$run tune.py -m experiment=demo_finetune,demo_freeze runs=$$demo 'name=$${hydra:runtime.choices.experiment}'; \
	$$run evaluate.py -m "run=$$(ls -d $$demo/*/final/* | paste -sd,)" split=test; \
	$$run report.py folder=$$demo/report studies=[$$demo/demo_finetune,$$demo/demo_freeze]

test: install
	$(BIN)/python -m pytest -m "not slow"

# real processes killed, several processes, Ray's own Tuner, the notebook: minutes more
test-slow: install
	$(BIN)/python -m pytest -m slow -n 0

# executes the notebooks: a training, a study and a report; a library that grows
notebook: install
	$(BIN)/python -m pytest -m slow -n 0 tests/test_notebook.py

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
# search_replay.py, which takes tables of recorded trainings, and serving.py, which takes a run, are
# run by hand.
WITH_PHOTOS := bulk finetune_speed frozen_trials loader shortcuts
WITHOUT_PHOTOS := head_training orchestration partial_cache report_page step_memory

bench: install
	@test -d "$(CARS)" || { echo "make bench CARS=<the folder with cars_train/ and devkit/>"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[bench]'
	@for name in $(WITHOUT_PHOTOS); do \
		echo "$$name" && $(BIN)/python -m benchmarks.$$name || exit 1; \
	done
	@for name in $(WITH_PHOTOS); do \
		echo "$$name" && $(BIN)/python -m benchmarks.$$name "$(CARS)" || exit 1; \
	done

clean:
	rm -rf .venv build dist src/*.egg-info
