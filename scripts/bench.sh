#!/usr/bin/env bash
# make bench: builds Simpleton and its engine, and runs the benchmarks in benches/. Results are relative to nginx and to
# llama-server on the same machine, so that machines can be compared. Close other programs while it runs.
# usage: scripts/bench.sh [arguments of "cargo bench"]
# SIMPLETON=absolute path of another program to measure (default: the one built here)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 4

step "Prerequisites: nginx, the compiler, Rust"
mapfile -t sets < <(to_build)
scripts/packages.sh bench ${sets[@]+"${sets[@]}"}
need_rust
step_done

step "The engine: llama.cpp's llama-server"
inner scripts/engine.sh
step_done

step "Simpleton: cargo build --release"
scripts/release.sh build || fail "Simpleton did not compile; the first error is above."
step_done

SIMPLETON_TEST_ENGINE="$(data_dir)/engine/llama-server"
export SIMPLETON_TEST_ENGINE
step "Benchmarks: cargo bench"
scripts/release.sh bench "$@"
step_done
