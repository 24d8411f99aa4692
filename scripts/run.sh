#!/usr/bin/env bash
# make run: from a fresh clone to a running server. Steps that are done already are skipped: the first run takes 15 to
# 25 minutes on 2 cores, later ones take seconds.
# usage: scripts/run.sh [arguments of "simpleton serve"]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 4

# An Ollama server replaces the engine and its models; the user's own llama-server replaces the engine.
ollama="$(setting OLLAMA_BASE_URL)"
llama_server="$(setting LLAMA_SERVER)"

step "Prerequisites: compiler, cmake, Python, Rust"
sets=(run)
if [[ -z "$ollama$llama_server" ]] && ! scripts/engine.sh --check; then sets+=(engine); fi
if [[ -z "$ollama" ]] && ! scripts/embedding-model.sh --check; then sets+=(embedding); fi
scripts/packages.sh "${sets[@]}"
need_rust
step_done

step "Simpleton: cargo build --release (about 9 minutes on 2 cores, the first time)"
scripts/release.sh build || fail "Simpleton did not compile; the first error is above."
step_done

step "The engine: llama.cpp's llama-server"
if [[ -n "$ollama" ]]; then
  step_done "not needed: models come from OLLAMA_BASE_URL"
elif [[ -n "$llama_server" ]]; then
  step_done "not needed: LLAMA_SERVER is set"
else
  inner scripts/engine.sh
  step_done "built for $(scripts/engine.sh --gpu)"
fi

step "The embedding model: all-minilm"
if [[ -n "$ollama" ]]; then
  step_done "not needed: models come from OLLAMA_BASE_URL"
elif inner scripts/embedding-model.sh; then
  step_done
else
  say "      Starting without it: everything but embeddings works. The next make run tries again."
fi

exec target/release/simpleton serve "$@"
