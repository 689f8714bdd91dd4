# Andonloop. `make help` says what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .runtime/venv
RUN := $(VENV)/bin/python
LOCAL := $(RUN) -m andon_local
INSTANCE ?= service

# `make demo DATA=<folder> IMAGES=<n> RATE=<images/s>`
DEMO := $(if $(DATA),--data "$(DATA)") $(if $(IMAGES),--images "$(IMAGES)") $(if $(RATE),--rate "$(RATE)")

.PHONY: help setup env demo up status down logs test lint format bench models generate release-schemas lock clean

help: ## show this help
	@echo "Andonloop: every capture becomes one disposition, every signal a dataset action."
	@echo
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  make demo DATA=<folder> IMAGES=<n> RATE=<images/s>   the demo on your own images"
	@echo "  make test TESTS=<path or pytest options>             some of the tests"

env:
	@"$(PYTHON)" infra/local/bootstrap.py

setup: env ## install everything the system runs on (pinned; what is there already is kept)
	@$(LOCAL) setup

demo: setup ## play a plant against the whole system and count whether the books balance
	@$(LOCAL) setup --only chromium || echo "No browser could be installed: the report comes without screenshots."
	@$(RUN) -m andon_demo $(DEMO)

up: setup ## start the system as a service; the console's address is in the last lines
	@$(LOCAL) up --instance $(INSTANCE) --services all

status: env ## what runs where
	@$(LOCAL) status

logs: env ## follow a program: make logs PROGRAM=kafka
	@$(LOCAL) logs --instance $(INSTANCE) $(PROGRAM)

down: env ## stop everything, also after a crash; data stay
	@$(LOCAL) down --all

test: env ## all tests, on real infrastructure
	@$(LOCAL) setup --optional > /dev/null
	@$(RUN) -m pytest $(TESTS)

lint: env ## style, types, room rules, stale generated files
	@$(RUN) infra/local/lint.py

format: env ## put the code in the one style
	@$(VENV)/bin/ruff check --fix --quiet . || true
	@$(VENV)/bin/ruff format .

bench: setup ## the figures, as JSON under build/bench/
	@$(RUN) -m pytest tests/bench -s -q $(TESTS)

models: env ## measure every method on public data, as a table, JSON and HTML under build/models/
	@$(RUN) -m trainer models --out build/models --data "$(or $(DATA),../shared/data)"

generate: env ## all generated files: records, contracts, compose, Dockerfiles
	@$(RUN) infra/local/generate.py

release-schemas: env ## freeze the current schemas as released versions
	@$(RUN) schemas/release.py

lock: env ## compile requirements/*.txt from the pyproject files
	@$(RUN) infra/local/lock.py

clean: env ## stop everything, delete data and build/; TOOLS=1: also all that was installed; signing keys stay
	@$(LOCAL) clean --all $(if $(TOOLS),--tools)
	@rm -rf build $(if $(TOOLS),$(VENV))
