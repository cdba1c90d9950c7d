# make demo | test | test-slow | lint | docs | setup; options pass through: make demo ARGS="--quick"
# Any Python 3 that runs starts .ci/dev.py, which then picks a fitting one; PYTHON=python3.12 decides for it.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null && echo $$p && break; done)
DEV = $(or $(strip $(PYTHON)),$(error No Python 3 runs here: install Python 3.11, 3.12 or 3.13)) .ci/dev.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow lint docs setup

help:
	@sed -n 's/^\([a-z-]*\):  *## /  make \1\t/p' Makefile

demo:  ## install if needed, then run the main job on the embedded synthetic exchange (4 minutes)
	@$(DEV) demo $(ARGS)

test:  ## install if needed, then lint, types and the tests
	@$(DEV) test $(ARGS)

test-slow:  ## the learning tests, minutes long
	@$(DEV) test-slow $(ARGS)

lint:  ## lint and types alone
	@$(DEV) lint $(ARGS)

docs:  ## write the API reference, from the docstrings, to build/docs/index.html
	@$(DEV) docs $(ARGS)

setup:  ## install into .venv and stop
	@$(DEV) setup
