# `make book` builds the book and names the page to open; `make test` proves it right.
# A second run does only what is out of date.

.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory --jobs=2
export PYTHONHASHSEED := 0

BIN := .venv/bin
SOURCES := $(wildcard notebooks/*.py)
EXECUTED := $(SOURCES:notebooks/%.py=book/notebooks/%.ipynb)
# Pages that commands write: what was found, and what the paper has where.
FOUND := book/scorecard.md book/paper_map.md book/departures.md book/cite.md
PAGES := $(filter-out $(FOUND),$(wildcard book/*.md book/*.bib book/_*.yml book/_static/*)) \
    $(wildcard CHANGELOG.md data/results/figures/*.png)
HTML := book/_build/html/index.html
PDF := book/_build/html/lost-in-attention.pdf
DECODER := $(or $(LOST_IN_ATTENTION_CACHE),.cache)/smollm2/source.json
COMMA := ,

# $(call install,extras): this package and what the extras need, at the pinned versions.
install = $(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[$(1)]' | \
    grep -v '^Requirement already satisfied'

# Two files of tests at a time, with a thread each: most tests gain little from a second thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Two notebooks at a time, with a thread each.  Two progress bars in one place cannot be read.
PAPERMILL := OMP_NUM_THREADS=1 $(BIN)/papermill --cwd . --kernel python3 --no-progress-bar
# Which of all notebooks a recipe is at.
PLACE = $$(printf '%s\n' $(SOURCES) | grep -nxF $< | cut -d: -f1) of $(words $(SOURCES))

.PHONY: book pdf lab test test-ready quick smoke outputs exercises nbgrader gpu-env FORCE

book: $(HTML)
	@echo "The book is built. Open file://$(abspath $(HTML))"

# The same pages as one PDF, printed by Chromium and linked from the first page.
pdf: $(PDF)
	@echo "The book is printed. Open file://$(abspath $(PDF))"

test: test-ready
	@REQUIRE_BROWSER=1 $(PYTEST)

# The tests that neither take long nor need Chromium or the built book.
quick: .venv/test-installed
	@$(PYTEST) -m 'not slow and not browser and not book'

# Everything that `make test` does before pytest.
test-ready: .venv/test-installed
	@.ci/browser
	@$(MAKE) $(DECODER) || echo "== without it the sink's chapter measures nothing again"

# Every notebook with few questions, in minutes; the book keeps what it has.
smoke: $(SOURCES:notebooks/%.py=build/smoke/%.ipynb)

# Stores the executed notebooks, and the README's figures with their data and provenance, as those
# that the repository holds.
outputs: $(EXECUTED)
	cp $(EXECUTED) notebooks/
	@mkdir -p data/results/figures
	@for kind in png csv json; do \
	    cp book/generated/06_layerwise_curves/rid_mixig.$$kind data/results/figures/layerwise_curves.$$kind; \
	    cp book/generated/17_sink/text_and_pictures.$$kind data/results/figures/sink_parts.$$kind; \
	done

# The chapters for learners: solutions removed, stubs and checks kept.
exercises: .venv/book-installed
	@$(BIN)/python -m lost_in_attention.teaching $(SOURCES) --output build/exercises

# The exercises alone, with nbgrader's metadata: checks are graded cells.
nbgrader: .venv/book-installed
	@$(BIN)/python -m lost_in_attention.teaching $(SOURCES) --nbgrader --output build/nbgrader

# The notebooks in a browser, to change and run them.  Their kernel runs in notebooks/.
lab: .venv/lab-installed $(DECODER)
	@$(BIN)/jupyter lab notebooks

# For machines with CUDA: adds what published models need.
gpu-env: .venv/created
	@echo "== installing what the book and published models need"
	@$(call install,book$(COMMA)gpu)
	@$(BIN)/python -c "import torch; print('CUDA available:', torch.cuda.is_available())"

# --- environment: the stamps lie in .venv, so that they go when it goes

# An environment works only where it was made: its scripts and its link to the library hold the
# path.  One that was copied or moved together with the repository is made anew.
ELSEWHERE := $(shell [ ! -e .venv/created ] || grep -qF " $$(pwd -P)/.venv" .venv/pyvenv.cfg || echo FORCE)

.venv/created: $(ELSEWHERE)
	@echo "== creating .venv$(if $(ELSEWHERE),: the one here was made for another place)"
	@$(if $(ELSEWHERE),rm -rf .venv)
	@.ci/python -m venv .venv
	@touch $@

.venv/book-installed: .venv/created pyproject.toml constraints.txt
	@echo "== installing what the book needs"
	@$(call install,book)
	@touch $@

.venv/test-installed: .venv/book-installed
	@echo "== installing what the tests need"
	@$(call install,test)
	@touch $@

.venv/lab-installed: .venv/book-installed
	@echo "== installing Jupyter"
	@$(call install,lab)
	@touch $@

# --- the pretrained decoder, 93 MB to fetch, 540 MB unpacked

$(DECODER): | .venv/book-installed
	@echo "== fetching the pretrained decoder"
	@$(BIN)/python -m lost_in_attention decoder

# --- notebooks

.stamps book/notebooks build/smoke:
	@mkdir -p $@

# Checksums of all that a notebook depends on besides its own source, rewritten only when one
# differs: contents count rather than dates, and a deleted file counts too.
.stamps/inputs: FORCE | .stamps
	@find constraints.txt lib data -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' \
	    -not -path 'data/results/figures/*' -print0 | LC_ALL=C sort -z | xargs -0 cksum > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# The .py file is the source; the stored .ipynb lends only its cell ids.
book/notebooks/%.ipynb: notebooks/%.py .stamps/inputs | .venv/book-installed $(DECODER) book/notebooks
	@echo "== executing $<, $(PLACE)"
	@if [ -e notebooks/$*.ipynb ]; then cp notebooks/$*.ipynb .stamps/$*.ipynb; fi
	@$(BIN)/jupytext --quiet --update --to ipynb --output .stamps/$*.ipynb $<
	@$(PAPERMILL) .stamps/$*.ipynb .stamps/$*.executed.ipynb
	@$(BIN)/python .ci/without-stderr .stamps/$*.executed.ipynb
	@mv .stamps/$*.executed.ipynb $@

build/smoke/%.ipynb: notebooks/%.py .stamps/inputs | .venv/book-installed $(DECODER) build/smoke
	@echo "== trying $<, $(PLACE)"
	@$(BIN)/jupytext --quiet --to ipynb --output - $< | $(PAPERMILL) -p tier smoke \
	    -p output build/smoke/generated - $@

# --- book

book/scorecard.md: $(EXECUTED) .stamps/inputs | .venv/book-installed
	@echo "== writing the scorecard"
	@$(BIN)/python -m lost_in_attention scorecard --results book/generated --output $@

book/paper_map.md book/departures.md &: $(EXECUTED) .stamps/inputs | .venv/book-installed
	@echo "== writing the pages on the paper"
	@$(BIN)/python -m lost_in_attention pages --results book/generated --output book

book/cite.md: $(wildcard CITATION.cff book/references.bib book/_config.yml) .stamps/inputs | .venv/book-installed
	@$(BIN)/python -m lost_in_attention.publishing.citation CITATION.cff book

# The pages on the library name its modules; Sphinx fills them in.
book/api.rst: .stamps/inputs | .venv/book-installed
	@$(BIN)/python -m lost_in_attention.publishing.api_reference book

# From nothing: pages that Sphinx holds for fresh would keep their warnings to themselves.  Aside:
# a build that was killed has an index.html too.
$(HTML): $(PAGES) $(FOUND) book/api.rst $(EXECUTED) | .venv/book-installed
	@echo "== building the pages"
	@rm -rf .stamps/pages
	@$(BIN)/jupyter-book build -W -n --keep-going --path-output .stamps/pages book | \
	    sed -u 's|\.stamps/pages/_build|book/_build|'
	@rm -rf book/_build
	@mv .stamps/pages/_build book/_build

# Beside the pages, so that it goes when they are built anew.
$(PDF): $(HTML)
	@.ci/browser
	@echo "== printing the book"
	@$(BIN)/python -m lost_in_attention.publishing.printed $(@D)
