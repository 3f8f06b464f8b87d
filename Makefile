# make run · make test · make book · make lab · make students · make pack · make slides · make pdf · make outputs · make full · make real · make synthetic · make small · make bench · make seat · make stale · make links · make clean
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: setup run test book lab students pack slides pdf outputs full real synthetic small bench seat stale links clean
.DEFAULT_GOAL := run

run: $(READY)
	$(BIN)/spokendigits run

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# What runs the model in the page "Say a digit"; without it that page's tests are skipped.
	$(BIN)/python -m spokendigits.publish.say_a_digit
	# One torch thread a process: two processes with two threads each would stand in each other's way.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests
	# In a home of its own: a run that was made before must not stand in for what today's code would make.
	home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && SPOKENDIGITS_HOME=$$home $(BIN)/python -m pytest --nbval notebooks

book: $(READY)
	$(BIN)/spokendigits book

lab: $(READY)
	$(BIN)/jupyter lab notebooks/01_data.ipynb

# Copies of the notebooks without solutions and outputs: _build/students.
students: $(READY)
	$(BIN)/spokendigits students

# Slides of the seven notebooks for a class: _build/slides/index.html.
slides: $(READY)
	$(BIN)/python -m tools.slides

# The whole book as one PDF, printed by Chromium: _build/spoken-digits.pdf.
pdf: $(READY)
	$(BIN)/python -m tools.pdf

# All that a classroom without a network needs, in one folder: _build/pack, or `make pack TO=folder`.
pack: $(READY)
	$(BIN)/python -m tools.pack $(if $(TO),"$(TO)")

# Renews the outputs stored in the notebooks, and book/results/fast.json.
outputs: $(READY)
	$(BIN)/python -m studies.outputs

# The seed's recipe at full size: book/results/full.json. Half an hour on two cores.
full: $(READY)
	$(BIN)/python -m studies.full

# From synthetic speech to people: book/results/fsdd.json. Hours on two cores; what the file has is kept, and it goes on where it was stopped.
real: $(READY)
	$(BIN)/python -m studies.real_voices

# How far results on the full synthetic corpus can be trusted: book/results/synthetic.json. An hour on two cores.
synthetic: $(READY)
	$(BIN)/python -m studies.new_voices

# The small network of the page "Say a digit", what it reads and what it costs: book/_static/say/digits.onnx, book/results/small.json
# and export.json. Two hours on two cores; finished trainings are kept. Needs espeak-ng and flite.
small: $(READY)
	$(BIN)/python -m studies.small

# How fast it is, as ratios: book/results/bench.json and its figure. Leave the computer alone meanwhile.
bench: $(READY)
	$(BIN)/python -m studies.bench

# What one student's seat on a JupyterHub needs: book/results/seat.json. A few minutes; leave the computer alone meanwhile.
seat: $(READY)
	$(BIN)/python -m studies.seat

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, not {v[0]}.{v[1]}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	# uv installs the same lock five times as fast as pip.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

# How old the pins of requirements.lock are. Asks the package index, and changes nothing.
stale: $(READY)
	$(BIN)/python -m tools.stale

# Asks every link that leads elsewhere, over the network. The tests check all other links.
links: $(READY)
	$(BIN)/python -m tools.links

# What was made, but not the data or the runs.
clean:
	rm -rf _build _stage .pytest_cache .ruff_cache
