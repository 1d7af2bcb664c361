# Everything here is a name for a script; see `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: setup images e2e load test lint docs up down clean help

export MANIFESTS BASELINE KEEP NODES CHROMA_VERSION K8S_VERSION SEED IMAGES SCENARIOS FAULTS TIME_LIMIT
export POWER_LOSSES REPEAT ONE_LANE

help:
	@echo 'chroma-qualify: may this set of Chroma manifests be promoted?'
	@echo
	@echo '  make e2e     a real kind cluster, every scenario, a verdict, evidence under runs/; the cluster is deleted'
	@echo '               (first time about 45 min where images are built from packages, then about 19 min)'
	@echo '               (it is .venv/bin/chroma-qualify run, which has more options: see its --help)'
	@echo '  make test    unit tests; no engine and no cluster (about 13 min)'
	@echo '  make load    the load scenarios of tests/load on a cluster of their own'
	@echo '  make lint    ruff, mypy, import-linter, zizmor, actionlint'
	@echo '  make docs    the documentation as a site in build/docs; warnings are errors, and no network is used'
	@echo '  make setup   .venv from requirements.lock (480 MB downloaded, 1.2 GB installed; then at once)'
	@echo '  make images  the images that a cluster needs (built only when their definition changed)'
	@echo '  make up      a cluster that stays; prints how to reach it'
	@echo '  make down    delete it'
	@echo '  make clean   delete what earlier runs left behind: clusters, engine, networks (runs/ stays)'
	@echo '  supported versions: supported.toml; scripts/matrix prints the combinations of the nightly run'
	@echo
	@echo '  variables           default'
	@echo '  MANIFESTS=DIR       each scenario its own topology; else every scenario uses DIR'
	@echo '  BASELINE=DIR        none; with MANIFESTS: the manifests in use, from which MANIFESTS is promoted under writes'
	@echo '  SCENARIOS=EXPR      all; else those whose name matches (pytest -k), e.g. upgrade'
	@echo '  FAULTS="A B"        all; of the faults only these, and without SCENARIOS nothing else'
	@echo '  TIME_LIMIT=SPAN     none; as 600, 30m, 1h: then no scenario begins, a running one ends, the verdict is not pass'
	@echo '  KEEP=1              0; keep the cluster after the run and print how to reach it'
	@echo '  NODES=N             1: the control plane; more adds workers'
	@echo '  CHROMA_VERSION=V    1.5.9'
	@echo '  K8S_VERSION=V       1.37.2'
	@echo '  SEED=N              random; printed, and in the verdict'
	@echo '  POWER_LOSSES=N      2; how often the power of the volume is cut (nightly: 20)'
	@echo '  REPEAT=N            1; how often three servers on one volume are written to'
	@echo '  ONE_LANE=1          0; one scenario after the other, also those that may run beside others'
	@echo '  IMAGES=MODE         auto: registry if one answers, else packages'
	@echo '  REGISTRY_MIRROR=R   none; host[:port][/path] that every image is pulled from instead of its own registry'
	@echo
	@echo '  verdicts and exit codes of scripts/qualify: 0 pass, 1 fail, 2 wrong request, 3 unknown, 4 infra'
	@echo '  (make itself always ends with 2 when something failed, and prints the code: "Error 1")'

setup:
	@scripts/setup

e2e load images up down clean:
	@scripts/qualify $@

test: setup
	@kubectl=$$(UV="$$PWD/.venv/bin/uv" .venv/bin/python -m chroma_qualify.cluster.images kubectl) \
	    && PATH="$$(dirname "$$kubectl"):$$PATH" .venv/bin/python -m pytest tests/unit

docs: setup
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy src
	.venv/bin/mypy images/tools/chroma_tools
	.venv/bin/mypy scripts/sandbox
	.venv/bin/mypy scripts/bench-backup
	.venv/bin/mypy scripts/bench-forward
	.venv/bin/mypy scripts/bench-checks
	.venv/bin/mypy scripts/bench-lint
	.venv/bin/mypy scripts/bench-recorder
	.venv/bin/mypy scripts/bench-report
	.venv/bin/mypy scripts/prove-interrupts
	.venv/bin/mypy scripts/fault-table
	.venv/bin/mypy scripts/client-table
	.venv/bin/mypy scripts/matrix
	.venv/bin/mypy scripts/cli-reference
	.venv/bin/mypy scripts/pictures
	.venv/bin/mypy scripts/docs_links.py
	.venv/bin/lint-imports
	.venv/bin/zizmor --offline --quiet .github/workflows action.yml
	scripts/actionlint
