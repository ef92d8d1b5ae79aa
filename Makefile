# Set-up and everyday commands. Nothing but Python >= 3.10 (with venv) and make is needed; `make` lists the targets.
#
# Environments are built once and again only when pyproject.toml or .ci/constraints.txt changes; an interrupted
# set-up continues where pip's cache left off. Pass options to pip with PIP_ARGS, e.g. PIP_ARGS=--no-cache-dir,
# and choose an interpreter with PYTHON=… (demo) or TEST_PYTHON=… (test, lint).
#
# torch: the `train` extra asks for torch==2.13.0 and takes the build that your pip prefers. On Linux that is usually
# the CUDA build, several GB; to have the CPU build, point pip at torch's own CPU index in PIP_ARGS or in your pip
# configuration. `make demo` and the device tests need no torch.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PIP_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
WHEELHOUSE_ARGS ?=
DEVICE_VERSIONS := 3.10 3.12
DEVICE_TESTS = $(wildcard tests/edge tests/deploy tests/test_imports.py)

# The first of the given commands that runs, is new enough and can make a venv. A name on PATH is not enough:
# pyenv's shims exist for versions that are not switched on, and Debian ships Python without ensurepip.
first_python = $(shell for p in $(1); do \
	"$$p" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo "$$p"; break; }; done)
pyenv = $(wildcard $(HOME)/.pyenv/versions/$(1)*/bin/python)

PYTHON ?= $(call first_python,python3 python3.13 python3.12 python3.11 python3.10 $(call pyenv,3.1))
TEST_PYTHON ?= $(call first_python,python3.11 $(call pyenv,3.11.) $(PYTHON))
device_python = $(call first_python,python$(1) $(call pyenv,$(1).))

# $(call environment,folder,interpreter,extras,what it costs): make or complete a venv with the project in it.
# opencv-python is what the project declares and what is installed; where it cannot be imported (no libGL: bare
# containers, minimal servers), opencv-python-headless takes its place. Never both: they own the same files, so the
# set is cleared first. (`pip check` then misses opencv-python; the drop-in is the point.)
define environment
@test -n "$(2)" || { echo "No Python >= 3.10 with the venv module found (Debian: apt install python3-venv). \
Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
@echo "Setting up $(1) ($(4)); once, and quietly …"
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || "$(2)" -m venv --clear $(1)
@pip() { $(1)/bin/python -m pip --disable-pip-version-check -qq "$$@"; }; \
	if $(1)/bin/python -m pip show -qq opencv-python-headless 2>/dev/null; \
		then pip uninstall -y opencv-python-headless; fi; \
	pip install $(PIP_ARGS) -c .ci/constraints.txt -e '.$(3)'; \
	if ! $(1)/bin/python -c 'import cv2' 2>/dev/null; then \
		echo "opencv-python does not load here (no libGL?): taking opencv-python-headless in its place"; \
		pip uninstall -y opencv-python; \
		pip install $(PIP_ARGS) -c .ci/constraints.txt opencv-python-headless; \
	fi; \
	$(1)/bin/python -c 'import cv2'
@touch $(1)/.complete
endef

# $(call engines,folder): the runtimes besides ONNX Runtime, for their tests; none needs a GPU. OpenVINO runs. TensorRT
# for RTX parses and compiles every exported graph; the Python bindings of each TensorRT we support, and CUDA's
# runtime, show that what we call exists. x86-64 only; what cannot be had is said here, and the tests that want it skip.
TENSORRT_BINDINGS := 10.3.0 10.13.3.9 10.16.1.11 11.4.0.106
CUDA_RUNTIMES := 12.6:nvidia-cuda-runtime-cu12==12.6.77 12.9:nvidia-cuda-runtime-cu12==12.9.79 \
	13.0:nvidia-cuda-runtime==13.0.96
define engines
@test "$$(uname -sm)" = "Linux x86_64" || { echo "Not Linux on x86-64: OpenVINO's and TensorRT's own checks will skip"; exit 0; }; \
	echo "Fetching OpenVINO, TensorRT for RTX, bindings and CUDA runtimes (320 MB, a minute or two) …"; \
	pip() { $(1)/bin/python -m pip --disable-pip-version-check -qq "$$@"; }; \
	pip install $(PIP_ARGS) -c .ci/constraints.txt -e '.[openvino]' || echo "no OpenVINO: its tests will skip"; \
	pip install $(PIP_ARGS) -e '.[rtx]' || echo "no TensorRT for RTX: its tests will skip"; \
	target() { test -d "$(1)/nvidia/$$1" || pip install $(PIP_ARGS) --no-deps --target "$(1)/nvidia/$$1" "$$2" || \
		echo "no $$2: its tests will skip"; }; \
	for v in $(TENSORRT_BINDINGS); do target "bindings-$$v" "tensorrt-cu12-bindings==$$v"; done; \
	for v in $(CUDA_RUNTIMES); do target "cudart-$${v%%:*}" "$${v#*:}"; done
endef

SETUP_INPUTS := pyproject.toml .ci/constraints.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.complete ## inspect a synthetic line with a ready bundle; needs no camera, no torch
	@.venv/bin/python -m edge.demo.run

# In the environment for development where there is one, as `bench` below.
.PHONY: page
page: $(if $(wildcard .venv-test/.complete),.venv-test,.venv)/.complete ## a station on the synthetic line, and the page for it in your browser
	@$(<D)/bin/python -c 'import jinja2, starlette, uvicorn' 2>/dev/null || \
		$(<D)/bin/python -m pip --disable-pip-version-check -qq install $(PIP_ARGS) -c .ci/constraints.txt -e '.[page]'
	@$(<D)/bin/python -m edge.page.demo

# In the environment for development where there is one, so that no second one is built for it.
.PHONY: bench
bench: $(if $(wildcard .venv-test/.complete),.venv-test,.venv)/.complete ## what an inspection costs here, against budgets; BENCH_ARGS=--quick
	@$(<D)/bin/python -m deploy.cli bench --report bench.json $(BENCH_ARGS)

# The paper's networks need torch.
.PHONY: lab
lab: .venv-test/.complete ## beside EfficientAd, the paper's networks and this machine's peak; BENCH_ARGS=--quick
	@.venv-test/bin/python -m deploy.cli lab --report lab.json $(BENCH_ARGS)

.PHONY: setup
setup: .venv/.complete .venv-test/.complete ## make the environments for the device and for development

# For a PC of another Python or processor: WHEELHOUSE_ARGS="--python-version 3.10 --platform manylinux_2_28_x86_64".
.PHONY: wheelhouse
wheelhouse: ## everything that deploy/install.sh --offline wheelhouse needs, to carry to a PC without internet
	@test -n "$(PYTHON)" || { echo "No Python >= 3.10 with pip"; exit 1; }
	@rm -rf wheelhouse
	@"$(PYTHON)" deploy/wheelhouse.py wheelhouse $(WHEELHOUSE_ARGS)

.PHONY: peers
peers: ## install the Debian packages that tests want, as root; without them those tests skip
	@.ci/peers

# The parts of `make test`, and what each is called in the table of what they took.
PARTS := set-up=.venv-test/.complete "all tests=test-all" $(foreach version,$(DEVICE_VERSIONS),\
	"set-up on Python $(version)=setup-device-$(version)" "device tests on Python $(version)=test-device-$(version)")

.PHONY: test
test: ## run all tests, then the device's on each other Python present (-k: also when some fail)
	@MAKE="$(MAKE)" .ci/parts $(if $(findstring k,$(firstword -$(MAKEFLAGS))),--keep-going) $(PARTS)

.PHONY: test-all
test-all: .venv-test/.complete ## run all tests once, trainer included
	@.venv-test/bin/python -m pytest $(PYTEST_ARGS)

.PHONY: test-device
test-device: $(DEVICE_VERSIONS:%=test-device-%) ## run the device's tests without torch, on each Python present

.PHONY: faults
faults: .venv-test/.complete ## the fault matrix in full figures (hours); goes on where it was ended, see tests/faults
	@.venv-test/bin/python -m tests.faults

.PHONY: lint
lint: .venv-test/.complete ## ruff, mypy, import rules
	@.venv-test/bin/ruff check .
	@.venv-test/bin/mypy
	@.venv-test/bin/lint-imports

.PHONY: clean
clean: ## remove environments, caches and build products (never runs/)
	rm -rf .venv .venv-test $(DEVICE_VERSIONS:%=.venv-%) build dist wheelhouse *.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find deploy edge trainer tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.complete: $(SETUP_INPUTS)
	$(call environment,.venv,$(PYTHON),,about 370 MB and half a minute)

.venv-test/.complete: $(SETUP_INPUTS)
	$(call environment,.venv-test,$(TEST_PYTHON),[train$(comma)test$(comma)dev],about 1.4 GB and two minutes with a CPU build of torch)
	$(call engines,.venv-test)
	@touch $@

comma := ,

# One light environment per Python that devices run; a version that is not installed is said and passed over, in CI not.
define device_rules
.PHONY: setup-device-$(1)
setup-device-$(1):
	@if [ -n "$$(call device_python,$(1))" ]; then $$(MAKE) -s --no-print-directory .venv-$(1)/.complete; \
	elif [ -n "$$(filter-out 0,$$(EDGE_REQUIRE_PEERS))" ]; then echo "Python $(1) is not on this machine"; exit 1; fi

.PHONY: test-device-$(1)
test-device-$(1): setup-device-$(1)
	@if [ ! -e .venv-$(1)/.complete ]; then echo "Python $(1) is not on this machine: device tests not run on it"; \
	elif [ -z "$$(DEVICE_TESTS)" ]; then echo "no device tests"; \
	else echo "Device tests on Python $(1)"; .venv-$(1)/bin/python -m pytest $$(PYTEST_ARGS) $$(DEVICE_TESTS); fi

.venv-$(1)/.complete: $$(SETUP_INPUTS)
	$$(call environment,.venv-$(1),$$(call device_python,$(1)),[test],about 400 MB and half a minute)
endef
$(foreach version,$(DEVICE_VERSIONS),$(eval $(call device_rules,$(version))))
