#!/usr/bin/env bash
# make run: from a fresh clone to a running server. Every step first looks whether it is done already, so the
# first run takes about a quarter of an hour on 2 cores and the next ones seconds.
# usage: scripts/run.sh [arguments of "simpleton serve"]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 4

# An Ollama server or a llama-server of the user's own takes the engine's place.
engine_elsewhere() {
  if [[ -n "$(setting OLLAMA_BASE_URL)" ]]; then
    echo "not needed, models come from OLLAMA_BASE_URL"
  elif [[ -n "$(setting LLAMA_SERVER)" ]]; then
    echo "not needed, LLAMA_SERVER names one"
  fi
}

step "What the system needs: compiler, cmake, Python, Rust"
scripts/packages.sh run
need_rust
step_done

step "Simpleton: cargo build --release (about 5 minutes the first time)"
cargo build --release --locked || fail "Simpleton did not compile; the first error is above."
step_done

step "The engine: llama.cpp's llama-server"
elsewhere="$(engine_elsewhere)"
if [[ -n "$elsewhere" ]]; then
  step_done "$elsewhere"
else
  inner scripts/engine.sh
  step_done
fi

step "The embedding model: all-minilm"
if [[ -n "$(setting OLLAMA_BASE_URL)" ]]; then
  step_done "not needed, models come from OLLAMA_BASE_URL"
elif inner scripts/embedding-model.sh; then
  step_done
else
  say "      Starting without it: everything but embeddings works. Run make run again to retry."
fi

exec target/release/simpleton serve "$@"
