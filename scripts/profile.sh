#!/usr/bin/env bash
# make profile: records a profile for profile-guided release builds, for packaging. Builds an instrumented Simpleton,
# runs the benchmarks with it, and writes target/release.profdata, which scripts/release.sh uses as long as the compiler
# and the dependencies stay the same. Benchmarks of images are left out, because a decoder's loops would make all other
# code look rarely used.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 4

# merger: prints the path of an llvm-profdata that reads this compiler's profiles: rustup's llvm-tools, or Debian's LLVM
# 19, which uses the same format.
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

# A separate target directory, so that the next release build does not start from scratch.
export SIMPLETON="$ROOT/target/profile/release/simpleton"
counts="$ROOT/target/profile/counts"

step "Simpleton, instrumented (about 10 minutes on 2 cores, the first time)"
CARGO_TARGET_DIR=target/profile cargo --config "target.'cfg(all())'.rustflags=['-Cprofile-generate=$counts']" \
  build --release --locked || fail "Simpleton did not compile; the first error is above."
# Removes the counts of build scripts, which are instrumented, too, and of earlier recordings.
rm -rf "$counts"
step_done

step "Benchmarks: whole and streamed replies, cache and engine"
inner scripts/bench.sh --bench overhead --bench cache --bench engine -- latency throughput streaming hits misses demo
step_done

step "target/release.profdata"
# --sparse leaves out functions that were never called, instead of marking them as cold.
"$profdata" merge --sparse --output target/release.profdata "$counts" ||
  fail "$profdata could not read the recorded profile." "With rustup: rustup component add llvm-tools"
scripts/release.sh stamp >target/release.profdata.for
step_done "$(du -h target/release.profdata | cut -f 1)"
