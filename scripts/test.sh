#!/usr/bin/env bash
# make test: installs what the tests need (nextest, the engine, the models, other projects' clients, the dashboard) and runs the tests.
# usage: scripts/test.sh [arguments of "cargo nextest run", such as part of a test's name]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 9

step "Prerequisites"
mapfile -t sets < <(to_build)
scripts/packages.sh test ${sets[@]+"${sets[@]}"}
need_rust
scripts/tools.sh nextest
step_done

step "The engine: llama.cpp's llama-server"
inner scripts/engine.sh
step_done

step "The embedding model, converted"
inner scripts/embedding-model.sh --convert-only
step_done

step "The model for text, downloaded"
inner scripts/text-model.sh --download-only
step_done

step "Clients: the packages of tests/clients"
scripts/clients.sh
step_done

step "The dashboard: npm run build"
inner scripts/dashboard.sh
step_done

# Tests use their own data directories; these are the paths of the real engine and model.
SIMPLETON_TEST_ENGINE="$(data_dir)/engine/llama-server"
SIMPLETON_TEST_EMBEDDING="$(data_dir)/downloads/all-minilm-l6-v2-f16.gguf"
SIMPLETON_TEST_TEXT="$(data_dir)/downloads/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
export SIMPLETON_TEST_ENGINE SIMPLETON_TEST_EMBEDDING SIMPLETON_TEST_TEXT

step "Tests: cargo nextest run"
cargo nextest run --locked "$@" || fail "tests failed; the summary above lists them." \
  "To run one test and see its output: make test ARGS=\"NAME --no-capture\""
step_done

if [[ -z "${CI:-}" ]]; then
  say "[8/9] Fuzzing the parsers: skipped, runs only in CI; use make fuzz"
  STEP=8
else
  step "Fuzzing the parsers"
  inner scripts/fuzz.sh 60
  step_done
fi

if (($# > 0)); then
  say "[9/9] Documentation tests: skipped, because tests were selected by name"
else
  step "Documentation tests: cargo test --doc"
  cargo test --doc --locked --quiet || fail "an example in the documentation failed; see above."
  step_done
fi
say "All tests passed in $(elapsed "$SECONDS")."
