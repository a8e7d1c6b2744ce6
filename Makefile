# Logloom: `make demo` shows it, `make test` proves it. Everything is set up in .venv from locked dependencies.
PYTHON ?= python3
BIN := .venv/bin
KAFKA ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-cluster test-quick check format bench chaos soak sbom audit lock kernels deploy deploy-diff undeploy rules clean help
.DEFAULT_GOAL := help

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Logloom needs Python 3.11 or newer: make PYTHON=python3.12 ...'; exit 1; }
	@echo '==> creating .venv'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo.stamp: .venv/python.stamp deploy/requirements/demo.lock
	@echo '==> installing the worker and the demo servers (about 5 GB with torch; minutes on the first run)'
	$(PIP) install --require-hashes -r deploy/requirements/demo.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/all.stamp: .venv/python.stamp deploy/requirements/all.lock
	@echo '==> installing the worker, training, tests and checks (about 6 GB with torch; minutes on the first run)'
	$(PIP) install --require-hashes -r deploy/requirements/all.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@ .venv/demo.stamp

kernels: .venv/demo.stamp  ## compile the kernels into the cache
	@$(BIN)/python -m worker.warm_up

demo: .venv/demo.stamp kernels  ## stream real sample logs through broker, worker, Redis and model (KAFKA=host:port: your broker)
	@$(BIN)/python deploy/demo/run.py $(if $(KAFKA),--kafka $(KAFKA))

test: .venv/all.stamp kernels  ## set up and pass all tests
	$(BIN)/python -m pytest

KUBERNETES := gitVersion=v1.32.13 gitMajor=1 gitMinor=32

.cache/kube-apiserver: $(wildcard tests/deploy/apiserver/*)
	@echo '==> building kube-apiserver (needs Go; half an hour on one core)'
	@mkdir -p .cache
	cd tests/deploy/apiserver && go build -ldflags '$(KUBERNETES:%=-X k8s.io/component-base/version.%)' -o ../../../$@ .

test-cluster: .venv/all.stamp .cache/kube-apiserver  ## `make deploy` against a real kube-apiserver (needs Go and etcd)
	LOGLOOM_TEST_API_SERVER=$(CURDIR)/.cache/kube-apiserver $(BIN)/python -m pytest tests/deploy/test_cluster.py

test-quick: .venv/all.stamp  ## the tests that need no server and take no time
	$(BIN)/python -m pytest -m 'not kafka and not redis and not slow'

check: .venv/all.stamp  ## lint, format, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/all.stamp  ## write the format that `make check` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bench.stamp: .venv/all.stamp deploy/requirements/bench.lock
	@echo '==> installing the peers that benchmarks compare with'
	$(PIP) install --require-hashes -r deploy/requirements/bench.lock
	@touch $@

bench: .venv/bench.stamp kernels  ## benchmarks beside their peers, in one run
	$(BIN)/python -m tests.bench

LOCK := uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-strip-extras --python-version 3.11 --universal pyproject.toml

lock:  ## write the locked dependencies anew from pyproject.toml (needs uv)
	$(LOCK) --extra demo --extra training --extra dev -o deploy/requirements/all.lock
	$(LOCK) --extra demo --constraint deploy/requirements/all.lock -o deploy/requirements/demo.lock
	$(LOCK) --constraint deploy/requirements/all.lock -o deploy/requirements/worker.lock
	echo hatchling | $(subst pyproject.toml,-,$(LOCK)) --constraint deploy/requirements/all.lock -o deploy/requirements/build.lock
	$(LOCK) --extra demo --extra training --extra dev --extra bench --constraint deploy/requirements/all.lock -o deploy/requirements/bench.lock

chaos: .venv/all.stamp kernels  ## faults on purpose, a million lines, output compared with input (half an hour)
	@mkdir -p build
	$(BIN)/python -m tests.chaos --json build/chaos.json

soak: .venv/all.stamp kernels  ## half an hour at a steady rate with mild faults: what grows
	@mkdir -p build
	$(BIN)/python -m tests.chaos.soak --json build/soak.json --png build/soak.png

deploy:  ## to Kubernetes, and wait until it runs (OVERLAY=gpu NAMESPACE=... KAFKA=host:port REDIS=host:port IMAGE=name:tag)
	@$(PYTHON) deploy/deploy.py deploy

deploy-diff:  ## what `make deploy` would change
	@$(PYTHON) deploy/deploy.py diff

undeploy:  ## remove it from Kubernetes; topics and the namespace stay
	@$(PYTHON) deploy/deploy.py undeploy

RULE := deploy/components/monitoring/prometheusrule.yaml

rules:  ## write the PrometheusRule from deploy/watching/alerts.yaml
	@{ sed '/^spec:/q' $(RULE); sed -n '/^groups:/,$$ s/^/  /p' deploy/watching/alerts.yaml; } > $(RULE).new
	@mv $(RULE).new $(RULE)

sbom: .venv/all.stamp  ## what a deployment is made of, as CycloneDX: build/sbom.cdx.json
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate -o build/sbom.cdx.json deploy/requirements/worker.lock

audit: .venv/all.stamp  ## known vulnerabilities of what a deployment is made of (asks PyPI's advisory database)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r deploy/requirements/worker.lock

clean:  ## remove what was built, the environment too
	rm -rf .venv .cache build dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
