#!/usr/bin/env bash
# make fuzz: feeds damaged input to all parsers of bytes from outside, starting with fuzz/corpus, and stops at the
# first failed assertion, crash or timeout. Uses libFuzzer directly, because cargo-fuzz takes minutes to install and
# needs a nightly compiler for its sanitizers, which find little in safe Rust.
# usage: scripts/fuzz.sh [SECONDS [TARGET …]]     SECONDS are for all targets together
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seconds="${1:-60}"
targets=("${@:2}")
((${#targets[@]} > 0)) || targets=(images http1 gguf framing multipart documents)
steps $((1 + ${#targets[@]}))

step "The fuzz targets, instrumented"
need_rust
host="$(rustc -vV | sed -n 's/^host: //p')"
# The flags of "cargo fuzz build --sanitizer none". With --target, they do not apply to build scripts.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
  cargo build --manifest-path fuzz/Cargo.toml --release --locked --quiet --target "$host" ||
  fail "the fuzz targets did not compile; the first error is above."
step_done

# libFuzzer saves inputs that reach new code in the first directory; the committed corpus stays unchanged.
found="$(mktemp -d)"
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]}"; do
  step "Fuzzing $target"
  mkdir "$found/$target"
  fuzz/target/"$host"/release/"$target" "$found/$target" "fuzz/corpus/$target" -max_total_time=$((seconds / ${#targets[@]})) \
    -max_len=8192 -timeout=20 -rss_limit_mb=1024 -artifact_prefix="fuzz/found-$target-" -print_final_stats=1 \
    2>"$found/log" || {
    tail -n 40 "$found/log" >&2
    fail "$target failed on an input: fuzz/found-$target-…" \
      "Fix the parser, make the input a test of it, and run this again."
  }
  grep -E 'stat::(number_of_executed_units|peak_rss_mb)|cov:' "$found/log" | tail -n 3 >&2
  step_done
done
