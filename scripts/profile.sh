#!/usr/bin/env bash
# make profile: records what requests go through, for who packages Simpleton: builds it so that it counts, has the
# benchmarks ask it, and puts the counts into target/release.profdata, which scripts/release.sh uses from then on
# with the same compiler and crates. Pictures are left out: a decoder's loops would make all else look as if it
# were never needed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 4

# merger: an llvm-profdata that reads what this compiler writes. The one of rustup's llvm-tools does; Debian's of
# LLVM 19 has the same format.
merger() {
  local found
  for found in "$(rustc --print target-libdir)/../bin/llvm-profdata" llvm-profdata-19; do
    if command -v "$found"; then return; fi
  done
  return 1
}

step "Prerequisites: llvm-profdata, Rust"
need_rust
merger >/dev/null || { command -v rustup && rustup component add llvm-tools; } >/dev/null 2>&1 || scripts/packages.sh profile
profdata="$(merger)" || fail "llvm-profdata is not installed." "With rustup: rustup component add llvm-tools"
step_done

# In a folder of its own, so that the next release build does not begin from nothing.
export SIMPLETON="$ROOT/target/profile/release/simpleton"
counts="$ROOT/target/profile/counts"

step "Simpleton, instrumented (about 10 minutes on 2 cores, the first time)"
CARGO_TARGET_DIR=target/profile cargo --config "target.'cfg(all())'.rustflags=['-Cprofile-generate=$counts']" \
  build --release --locked || fail "Simpleton did not compile; the first error is above."
# What is built with it runs while building, and counts, too; so did the last recording.
rm -rf "$counts"
step_done

step "Benchmarks: whole and streamed replies, cache and engine"
inner scripts/bench.sh --bench overhead --bench cache --bench engine -- latency throughput streaming hits misses demo
step_done

step "target/release.profdata"
# Functions that were never called are left out, and not taken for ones that do not matter.
"$profdata" merge --sparse --output target/release.profdata "$counts" ||
  fail "$profdata could not read the recorded profile." "With rustup: rustup component add llvm-tools"
scripts/release.sh stamp >target/release.profdata.for
step_done "$(du -h target/release.profdata | cut -f 1)"
