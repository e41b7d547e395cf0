# Two commands matter: `make demo` and `make test`. Both install first; an installed .venv is left alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help install demo test test-all trust fuzz mutants lint docs clean image-check gpu-check licences release

help:
	@echo "make demo      install, then the main job on built-in synthetic data; ends with a report (demo/)"
	@echo "make test      install, then lint, types and the tests, slow ones left out"
	@echo "make test-all  every test"
	@echo "make trust     every stage killed, on full disks, watched for power cuts, and two at once (minutes)"
	@echo "make fuzz      10,000 mutants of input files and of stores, runs and scores, through the commands (an hour; INPUTS=1000)"
	@echo "make mutants   losses, scores, stain, tiling, figures, thresholds, splits and store changed in one place at a time (an hour; ONLY=figures)"
	@echo "make docs      the documentation as a site, in build/docs"
	@echo "make image-check  build the image for real and train, kill, resume and score inside it (deploy/image_check.py)"
	@echo "make gpu-check    all that wants a GPU, in ten minutes, into build/gpu (benchmarks/gpu.py)"
	@echo "make licences  the licences of all packages in .venv; fails where one binds the code beside it"
	@echo "make release   wheel, sdist, locked requirements, licences, SBOM and checksums (deploy/release.py), into dist/"
	@echo "make install   a ready .venv; make lint; make clean (leaves .venv and demo/)"

# Without compiled modules on disk each command compiles all of its libraries anew, 15 seconds of them; some images forbid writing them.
unexport PYTHONDONTWRITEBYTECODE

install: $(READY)

# --no-compile: most modules are never imported, and compiling all of them is a third of an installation.
# staintools asks for a second OpenCV that needs libGL, hence --no-deps; it also drops a package named `tests`.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed (make PYTHON=python3.11 …), found " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[staintools,dev,docs]"
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -c constraints.txt staintools
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	  grep -q '^tests/' "$$site"/staintools-*.dist-info/RECORD && rm -rf "$$site/tests" || true
	touch $@

demo: $(READY)
	$(BIN)/esad run demo --out demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile

test-all: lint
	$(BIN)/python -m pytest

trust: $(READY)
	$(BIN)/python -m pytest tests/trust/test_killed.py tests/trust/test_killed_together.py tests/trust/test_disk.py tests/trust/test_power.py tests/trust/test_two_writers.py -rs -s -q

INPUTS ?= 10000
fuzz: $(READY)
	$(BIN)/python -m tests.trust.fuzz --inputs $(INPUTS)

ONLY ?=
mutants: $(READY)
	$(BIN)/python -m pip install --quiet mutmut==3.8.1
	$(BIN)/python -m tests.mutants.run $(if $(ONLY),--only $(ONLY))

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

image-check:
	$(PYTHON) deploy/image_check.py

gpu-check: $(READY)
	$(BIN)/python benchmarks/gpu.py --gpu-only --out build/gpu

licences: $(READY)
	$(BIN)/python deploy/licences.py --but spams-bin

release:
	$(PYTHON) deploy/release.py $(RELEASE)

clean:
	rm -rf build dist src/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src pipeline preprocessing models data_manifests tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
