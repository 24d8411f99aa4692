#!/usr/bin/env bash
# make run: from a fresh clone to a running server. Steps that are done already are skipped: the first run takes 15 to
# 25 minutes on 2 cores, later ones take seconds.
# usage: scripts/run.sh [arguments of "simpleton serve"]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 6

# An Ollama server replaces the engine and its models; the user's own llama-server replaces the engine.
ollama="$(setting OLLAMA_BASE_URL)"
llama_server="$(setting LLAMA_SERVER)"
text_model="$(setting TEXT_MODEL)"

step "Prerequisites: compiler, cmake, Python, Rust"
sets=(run)
if [[ -z "$ollama$llama_server" ]] && ! scripts/engine.sh --check; then sets+=(engine); fi
if [[ -z "$ollama" ]] && ! scripts/embedding-model.sh --check; then sets+=(embedding); fi
if [[ -z "$ollama" && "$text_model" != none ]] && ! scripts/text-model.sh --check; then sets+=(text); fi
if ! scripts/dashboard.sh --check; then sets+=(dashboard); fi
scripts/packages.sh "${sets[@]}"
need_rust
step_done

# The model downloads while the compilers run. Its own step resumes and shows what is left.
download=""
end_download() {
  if [[ -n "$download" ]]; then kill -- "-$download" 2>/dev/null || true; fi
  download=""
}
trap end_download EXIT
if [[ -z "$ollama" && "${text_model:-qwen2.5-coder:0.5b}" == qwen2.5-coder:0.5b ]]; then
  setsid scripts/text-model.sh --download-only >/dev/null 2>&1 </dev/null &
  download=$!
fi

step "The dashboard: npm run build"
if inner scripts/dashboard.sh; then
  step_done
else
  say "      Building without it: everything but /dashboard works. The next make run tries again."
fi

step "Simpleton: cargo build --release (about 14 minutes on 2 cores, the first time)"
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

step "The model for text: ${text_model:-qwen2.5-coder:0.5b}"
end_download
if [[ -n "$ollama" ]]; then
  step_done "not needed: models come from OLLAMA_BASE_URL"
elif [[ "$text_model" == none ]]; then
  step_done "not needed: TEXT_MODEL is none"
elif inner scripts/text-model.sh; then
  step_done
else
  say "      Starting without it: the built-in demo model answers. The next make run tries again."
fi

exec target/release/simpleton serve "$@"
