# Everything a person or CI runs. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Idle OpenMP threads that spin starve the processes beside them.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
export PYTHONUNBUFFERED := 1
# Some images forbid Python to keep what it compiled: then each of hundreds of processes would compile all again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check lint format types protos drift docs manifests sanitize bench-text bench-encoders bench-kinds bench-speculation bench-speech bench-gpu gpu-day bench-media bench-autoscale bench-gateway bench-transport soak images images-check image-locks models tools observe boards monitoring clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36m%-17s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Creates the environment in .venv; every other target does so itself.

# torch first and pinned, so that nothing else chooses another build of it. All cores compile, where pip uses one, and
# torch while the rest is fetched. What does not compile is templates that some packages hold; what nobody imports, or
# only a part of (each process compiles the models that it loads), is left out. The pip that comes with Python 3.11 takes
# twice as long to choose versions.
UNIMPORTED := /tests?/|/pygments/lexers/|/pip/|/setuptools/|/networkx/|/sympy/physics/|/torch/(testing|_inductor)/
IN_PART := /transformers/models/|/kubernetes/(aio|client/(api|models))/|/cloudcoil/models/
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '$(UNIMPORTED)|$(IN_PART)' $(VENV)/lib

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("sensorium needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Creating the environment in $(VENV): about two minutes, most of them downloads."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-compile --upgrade pip
	$(BIN)/pip install --disable-pip-version-check --no-compile torch==2.13.0
	@$(COMPILE) & \
	$(BIN)/pip install --disable-pip-version-check --no-compile --editable '.[dev]' && wait
	@echo "Compiling what was installed."
	@$(COMPILE) || true
	@touch $@

tools: ## Fetches what is not on PyPI into .tools: prometheus, promtool.
	@local/tools.sh prometheus prometheus promtool

demo: $(READY) ## Starts a service for every embedded model behind a gateway, asks each task, stops.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m local demo

serve: $(READY) ## Keeps the stack running until Ctrl-C and says what to call.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m local serve

observe: $(READY) tools ## Keeps the stack running with a Prometheus, its boards and some load; ARGS=--quiet: no load.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m local observe $(ARGS)

test: $(READY) tools ## Runs the whole test suite.
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: lint types test ## What CI runs: format, lint, types, tests, and proto drift among them.

lint: $(READY) ## Format and lint.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## Types.
	$(BIN)/pyrefly check

drift: $(READY) ## The committed stubs are what protoc makes of the protos.
	$(BIN)/python -m pytest -q tests/contract

format: $(READY) ## Formats, and fixes what lint can fix.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: $(READY) ## Generates sensorium/v1 from protos.
	$(BIN)/python protos/generate.py

docs: $(READY) ## Writes docs/api from the protos and docs/metrics.md from the code.
	$(BIN)/python -m tests.docs.api_pages
	$(BIN)/python -m tests.docs.metrics_page > docs/metrics.md

manifests: $(READY) ## Writes tests/k8s/snapshots from k8s.
	$(BIN)/python -m tests.k8s.snapshots

boards: $(READY) tools ## Draws docs/boards from what a Prometheus sees of the stack under load, in two minutes.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m local boards $(ARGS)

monitoring: $(READY) ## Writes rules and boards of k8s/monitoring from its code.
	$(BIN)/python -m k8s.monitoring

sanitize: $(READY) ## Tests the native library under address and undefined-behaviour sanitizers.
	@mkdir -p .sanitize
	CC="cc -g -fsanitize=address,undefined -fno-sanitize-recover=undefined" XDG_CACHE_HOME=$(CURDIR)/.sanitize \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -p tests.services.engine.native.watched \
	tests/services/engine/fusion tests/services/engine/generation/attention \
	tests/services/engine/native/test_linears_compute_the_same.py

bench-text: $(READY) ## Measures the text service beside its peers; ARGS="--quick" for a smoke run.
	@$(BIN)/python -m benchmarks.text $(ARGS)

bench-encoders: $(READY) ## Measures models that read once beside their peers; ARGS="--quick" for a smoke run.
	@$(BIN)/python -m benchmarks.encoders $(ARGS)

bench-kinds: $(READY) ## Measures other kinds of models beside generate.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.kinds $(ARGS)

bench-speculation: $(READY) ## Measures what prompt lookup gains and costs, with the embedded chat model.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.speculation $(ARGS)

bench-speech: $(READY) ## Measures transcription beside transformers' pipeline.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.speech $(ARGS)

bench-gpu: $(READY) ## Measures generation on a GPU beside transformers and what the hardware allows, in ten minutes.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.gpu $(ARGS)

gpu-day: $(READY) ## Runs all that wants a GPU, most wanted first, in ARGS="--minutes 12 --out DIR"; DIR/summary.md tells.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.gpu.day $(ARGS)

bench-media: $(READY) ## Measures what an image in a prompt costs, and the pauses of streams beside it.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.media $(ARGS)

bench-gateway: $(READY) ## Measures the rows of a batch that stay empty behind the gateway.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.gateway $(ARGS)

bench-transport: $(READY) ## Measures the processor time of a streamed message, in a service and in the gateway.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.transport $(ARGS)

bench-autoscale: $(READY) ## Replays a day against the scaling policies, beside fleets that do not scale.
	@$(BIN)/python -m benchmarks.autoscale $(ARGS)

soak: $(READY) ## Sends 20,000 requests of every kind and tells whether memory grows.
	@HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.soak $(ARGS)

images: ## Builds both images with docker, podman or buildah; images/build.sh tells what can be chosen.
	images/build.sh

images-check: $(READY) ## Starts both images with a read-only root and no rights, and asks through the gateway.
	images/check.sh

image-locks: $(READY) ## Writes what the images install, by version, from pyproject.toml.
	$(BIN)/python images/lock.py

models: $(READY) ## Trains the embedded models anew (about three hours, less with a GPU; speech needs espeak-ng and flite).
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m models.recipes.chat
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m models.recipes.vision
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m models.recipes.text
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m models.recipes.multimodal
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m models.recipes.speech

clean: ## Removes the environment and caches.
	rm -rf $(VENV) .tools .demo .bench .sanitize .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
