#!/usr/bin/env bash
# make bench: builds Simpleton and its engine, and runs the benchmarks in benches/. Results are relative to nginx and to
# llama-server on the same machine, so that machines can be compared. Close other programs while it runs. The benchmark
# of documents also needs manuals that Debian ships; it does without those that cannot be downloaded.
# usage: scripts/bench.sh [arguments of "cargo bench"]
# SIMPLETON=absolute path of another program to measure (default: the one built here)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MANUALS=(developers-reference gnuplot-doc)
manuals_dir="$(cache_dir)/manuals"

# manual PACKAGE: downloads a Debian package and unpacks it, without installing it.
manual() {
  [[ ! -d "$manuals_dir/$1" ]] || return 0
  local work
  mkdir -p "$manuals_dir"
  work="$(mktemp -d "$manuals_dir/.partial-XXXXXX")"
  if (cd "$work" && apt-get -q download "$1" >&2 && dpkg-deb -x ./*.deb unpacked && mv unpacked "$manuals_dir/$1"); then
    say "      $1"
  else
    say "      $1 could not be downloaded with apt-get; continuing without it."
  fi
  rm -rf "$work"
}

steps 6

step "Prerequisites: nginx, the compiler, Rust"
mapfile -t sets < <(to_build)
scripts/packages.sh bench ${sets[@]+"${sets[@]}"}
need_rust
step_done

step "The engine: llama.cpp's llama-server"
inner scripts/engine.sh
step_done

step "The models for embeddings and for text"
inner scripts/embedding-model.sh --convert-only
inner scripts/text-model.sh --download-only
step_done

step "Manuals: ${MANUALS[*]}"
for package in "${MANUALS[@]}"; do manual "$package"; done
step_done

step "Simpleton: cargo build --release"
scripts/release.sh build || fail "Simpleton did not compile; the first error is above."
step_done

SIMPLETON_TEST_ENGINE="$(data_dir)/engine/llama-server"
SIMPLETON_TEST_EMBEDDING="$(data_dir)/downloads/all-minilm-l6-v2-f16.gguf"
SIMPLETON_TEST_TEXT="$(data_dir)/downloads/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
SIMPLETON_BENCH_MANUALS="$manuals_dir"
export SIMPLETON_TEST_ENGINE SIMPLETON_TEST_EMBEDDING SIMPLETON_TEST_TEXT SIMPLETON_BENCH_MANUALS
step "Benchmarks: cargo bench"
scripts/release.sh bench "$@"
step_done
