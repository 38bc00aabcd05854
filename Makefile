# make setup   create .venv with the pinned packages
# make demo    set up, then Tables 1 to 7 of the embedded default, figures and a report
# make test    set up, then all tests
# make readers   create .venv-readers: datumaro and Label Studio's converter, which tests compare with
# make check   lint, format, import contract, spelling, rules
# make bench   every stage against its plain version and the machine's limit (docs/speed.md; ten minutes); BENCH="--sizes voc"
# make audit   known vulnerabilities of the pinned packages and of this code (docs/security.md)
# make lock    resolve the dependencies again
# make smoke-paper SAMPLES=DIR    every stage of the paper's experiments on sample photos, under both recipes
# make smoke-strong SAMPLES=DIR   every stage of the preset strong on these photos
# make smoke-photos SAMPLES=DIR    thirty of these photos from init to masks, card and ONNX; also mini's scenes, without labels
# make soak    hours of random edits and kills; counts: SEQUENCES=200 KILLS=50 ROUNDS=10
# make slurm-test    the pipeline on a Slurm of one node, which this starts and ends (root; docs/cluster.md)
# make ui      show the runs in MLflow; PORT=5001 if port 5000 is in use
# make docs    build docs/ into site/; make docs-serve shows it at http://127.0.0.1:8000 while you edit
# make clean   remove the results of the embedded default (not the environment)
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready
READERS := .venv-readers/.ready
SMOKE := results/smoke-paper/inputs
SMOKE_STRONG := results/smoke-strong/inputs
SAMPLES ?= ../shared/real
REPORT := results/mini/report.html
PORT ?= 5000
DOCS_PORT ?= 8000
SEQUENCES ?= 200
KILLS ?= 50
ROUNDS ?= 10
BENCH ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup readers demo test check bench soak slurm-test smoke-paper smoke-strong smoke-photos audit lock ui clean

setup: $(SETUP)

$(SETUP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11, 4), "Python 3.11.4 or newer is needed; name one: make PYTHON=python3.12 ..."'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (6 GB, some minutes)"
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(SETUP)

# They need other versions than reclip, so they have an environment of their own.
readers: $(READERS)

$(READERS): tests/readers/requirements.lock | $(SETUP)
	@test -x .venv-readers/bin/python || $(BIN)/python -m venv .venv-readers
	@echo "installing the programs that read annotations back into .venv-readers (0.7 GB, a minute)"
	.venv-readers/bin/python -m pip install --quiet --require-hashes -r tests/readers/requirements.lock
	@touch $(READERS)

demo: $(SETUP)
	snakemake
	@if [ ! -e $(REPORT) ] || [ -n "$$(find results/mini/tables results/mini/figures -newer $(REPORT) -print -quit)" ]; then snakemake --report $(REPORT); fi
	@if git cat-file -e HEAD:dvc.lock 2>/dev/null; then reclip verify --short || true; fi
	@echo "tables: results/mini/tables, figures: results/mini/figures, report: results/mini/report.html"

test: $(SETUP) $(READERS)
	pytest

check: $(SETUP)
	ruff check .
	ruff format --check .
	lint-imports
	codespell
	snakefmt --check Snakefile workflow
	snakemake --lint

bench: $(SETUP)
	python benchmarks/bench.py $(BENCH)

# A failure prints its seed; set RECLIP_SEED to repeat it.
soak: $(SETUP)
	RECLIP_SEQUENCES=$(SEQUENCES) pytest -n 2 --dist load -rP tests/workflow/test_staleness_property.py
	RECLIP_SOAK=$(KILLS) pytest -n 0 -s tests/soak/test_kills.py
	RECLIP_ROUNDS=$(ROUNDS) pytest -n 0 tests/soak/test_mlflow_kills.py
	RECLIP_SLURM=1 pytest -n 0 tests/slurm/test_cluster.py
	RECLIP_PODS=1 pytest -n 0 tests/soak/test_kubernetes.py
	RECLIP_COMPILE=1 pytest -n 0 tests/training/test_compile.py

slurm-test: $(SETUP)
	@python tests/support/slurm.py
	RECLIP_SLURM=1 pytest -n 0 --durations=0 tests/slurm/test_cluster.py

smoke-paper: $(SETUP)
	python tests/smoke/paper.py --samples $(SAMPLES) --output $(SMOKE)
	snakemake --config params=$(SMOKE)/faithful.yaml
	snakemake --config params=$(SMOKE)/batched.yaml
	@echo "tables and figures: results/smoke-paper-faithful and results/smoke-paper-batched"

smoke-strong: $(SETUP)
	python tests/smoke/strong.py --samples $(SAMPLES) --output $(SMOKE_STRONG)
	snakemake --config params=$(SMOKE_STRONG)/strong.yaml
	@echo "tables and figures: results/smoke-strong"

smoke-photos: $(SETUP)
	python tests/smoke/photos.py voc --samples $(SAMPLES) --output results/smoke-photos/inputs
	python tests/smoke/photos.py scenes --output results/smoke-scenes/inputs

# Strict: a package that cannot be audited fails. docs/security.md explains the ignored vulnerability.
audit:
	uvx bandit --quiet --configfile pyproject.toml --recursive reclip
	uvx pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock --ignore-vuln CVE-2025-69872

lock:
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --python-version 3.11.4 --no-header --no-annotate --quiet --upgrade --output-file requirements.lock
	uv pip compile tests/readers/requirements.in --universal --generate-hashes --python-version 3.11.4 --no-header --no-annotate --quiet --upgrade --output-file tests/readers/requirements.lock

ui: $(SETUP)
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1 --backend-store-uri sqlite:///mlflow.db

clean:
	rm -rf results/mini/data results/mini/text results/mini/features results/mini/hypotheses results/mini/runs results/mini/plan results/mini/report.html logs .snakemake

.PHONY: docs docs-serve

# MkDocs' warning about its version 2 says nothing about these pages.
docs docs-serve: export NO_MKDOCS_2_WARNING = 1

docs: $(SETUP)
	mkdocs build --strict

docs-serve: $(SETUP)
	mkdocs serve --strict --dev-addr 127.0.0.1:$(DOCS_PORT)
