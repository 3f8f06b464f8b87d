PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# One torch thread a process: two processes with two threads each would stand in each other's way.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: run test check test-all lint book lab students pack slides pdf outputs full real synthetic transfer small strangers bench gpu seat stale links clean setup help
.DEFAULT_GOAL := run

# Makes the data, runs the seven notebooks in order, builds the book. 7 minutes on two cores.
run: $(READY)
	$(BIN)/spokendigits run

# Every check of a change: style, imports, tests, notebooks.
test: lint
	# What runs the model in the page "Say a digit"; without it that page's tests are skipped.
	$(BIN)/python -m spokendigits.publish.npm
	$(PYTEST) -m "not nightly" --nbval notebooks tests

# The quick ones: style, imports, and the tests that neither train nor open a browser. Under two minutes.
check: lint
	$(PYTEST) -m "not nightly and not slow" tests

# The same as test, with what is slow and wide: stand-ins of the studies, an installation without a network.
test-all: test
	$(PYTEST) -m nightly tests

# Style, imports that go down only, and dependencies that are both asked for and used.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry spokendigits

# Builds the book from the outputs stored in the notebooks: _build/book.
book: $(READY)
	$(BIN)/spokendigits book

# Opens JupyterLab with the notebooks. It serves the whole checkout: links and the book's buttons lead somewhere.
lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=. notebooks/01_data.ipynb

# Copies of the notebooks without solutions and outputs: _build/students.
students: $(READY)
	$(BIN)/spokendigits students

# Slides of the seven notebooks for a class: _build/slides/index.html.
slides: $(READY)
	$(BIN)/python -m tools.slides

# The whole book as one PDF, printed by Chromium: _build/spoken-digits.pdf.
pdf: $(READY)
	$(BIN)/python -m tools.pdf

# All that a classroom without a network needs, in one folder: _build/pack, or make pack TO=folder.
pack: $(READY)
	$(BIN)/python -m tools.pack $(if $(TO),"$(TO)")

# Renews the outputs stored in the notebooks, book/results/fast.json and people.json, and the data of two figures in book/moving.
outputs: $(READY)
	# With another number of threads sums are rounded in another order, and a training ends elsewhere.
	env -u OMP_NUM_THREADS $(BIN)/python -m studies.outputs

# The seed's recipe at full size: book/results/full.json. Half an hour on two cores.
full: $(READY)
	$(BIN)/python -m studies.full

# From synthetic speech to people: book/results/fsdd.json, and splits.csv with all that four networks read of people. Hours on two cores; it goes on where it was stopped.
real: $(READY)
	$(BIN)/python -m studies.real_voices

# How far results on the full synthetic corpus can be trusted: book/results/synthetic.json. An hour on two cores.
synthetic: $(READY)
	$(BIN)/python -m studies.new_voices

# What a start from photographs or from speech is worth: book/results/transfer.json. An hour on two cores.
transfer: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m studies.transfer

# The model of the page "Say a digit": book/_static/say/digits.onnx, small.json, export.json. Two hours; needs espeak-ng and flite.
small: $(READY)
	$(BIN)/python -m studies.small

# The model that answers: book/_static/say/spotter.onnx and strangers.json. Half an hour on a GPU, half a day on two cores.
strangers: $(READY)
	$(BIN)/python -m studies.strangers

# How fast it is, as ratios: book/results/bench.json and its figure. Leave the computer alone meanwhile.
bench: $(READY)
	$(BIN)/python -m studies.bench

# The seed experiment on a CUDA GPU, and what each step costs there: book/results/gpu.json.
gpu: $(READY)
	$(BIN)/python -m studies.gpu

# What one student's seat on a JupyterHub needs: book/results/seat.json. Leave the computer alone meanwhile.
seat: $(READY)
	$(BIN)/python -m studies.seat

# Makes the environment in .venv from requirements.lock.
setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed, not {v[0]}.{v[1]}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	# uv installs the same lock five times as fast as pip. Of pip's settings it knows none: it is told the package index.
	$(BIN)/python -m pip install --quiet --no-user --disable-pip-version-check uv==0.13.9
	index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config list 2>/dev/null | sed -n 's/^global.index-url=.\(.*\).$$/\1/p')}}"; \
	uv="$(BIN)/uv pip install --quiet --python $(BIN)/python $${index:+--default-index $$index}"; \
	$$uv -r requirements.lock && $$uv --no-deps -e .
	@touch $(READY)

# How old the pins of requirements.lock are. Asks the package index, and changes nothing.
stale: $(READY)
	$(BIN)/python -m tools.stale

# Asks every link that leads elsewhere, over the network. The tests check all other links.
links: $(READY)
	$(BIN)/python -m tools.links

# Removes what was made, but not the data or the runs.
clean:
	rm -rf _build _stage .pytest_cache .ruff_cache .import_linter_cache

# This list.
help:
	@awk '/^# /{said = substr($$0, 3); next} /^[a-z-]+:/{if (said) printf "make %-10s %s\n", substr($$1, 1, length($$1) - 1), said} {said = ""}' Makefile
