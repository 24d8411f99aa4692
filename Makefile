# The commands of this project. Each one runs a script in scripts/.

.DEFAULT_GOAL := help
.PHONY: help run dashboard screenshots test check fuzz bench profile dist dist-test

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  Arguments go in ARGS: make run ARGS="--port 9000", make test ARGS="stream"'

run: ## Install dependencies, build, and start Simpleton on http://127.0.0.1:8000
	@scripts/run.sh $(ARGS)

dashboard: ## Build the dashboard, which the next release build contains
	@scripts/dashboard.sh

screenshots: ## Take the README's pictures of the dashboard (about five minutes)
	@scripts/screenshots.sh

test: ## Install test dependencies and run all tests
	@scripts/test.sh $(ARGS)

check: ## Check format, lints, licenses, documentation, OpenAPI, scripts and deployment files
	@scripts/check.sh

fuzz: ## Fuzz all parsers for a minute (ARGS=600 for ten)
	@scripts/fuzz.sh $(ARGS)

bench: ## Compare speed and size with nginx and llama-server
	@scripts/bench.sh $(ARGS)

profile: ## Record a profile for profile-guided release builds
	@scripts/profile.sh

dist: ## Make a tarball and a .deb in target/dist, with the engine
	@scripts/dist.sh

dist-test: ## Install that .deb in a bare Debian and chat there (needs root)
	@scripts/dist-test.sh
