# The commands of this project. Each one is a script in scripts/, which says what it does while it does it.

.DEFAULT_GOAL := help
.PHONY: help run test check fuzz bench profile

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  Arguments go in ARGS: make run ARGS="--port 9000", make test ARGS="stream"'

run: ## Install what is missing, build, and start Simpleton on http://127.0.0.1:8000
	@scripts/run.sh $(ARGS)

test: ## Install what the tests need and run all of them
	@scripts/test.sh $(ARGS)

check: ## Format, lints, licences, documentation, scripts and deployment files
	@scripts/check.sh

fuzz: ## Throw damaged pictures at the decoder for a minute (ARGS=600 for ten)
	@scripts/fuzz.sh $(ARGS)

bench: ## Measure speed and size against nginx and the bare engine
	@scripts/bench.sh $(ARGS)

profile: ## Record what requests go through, for release builds to be made for it
	@scripts/profile.sh
