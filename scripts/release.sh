#!/usr/bin/env bash
# The release build, and the benchmarks of it: cargo, which is told what a request goes through when "make profile"
# has recorded it here for this compiler and these crates (docs/adr/0019 says what that brings).
# usage: scripts/release.sh build|bench [arguments of cargo] | stamp
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# stamp: what the names of functions depend on, without which the record says nothing: crates and compiler.
stamp() { sed '/^#/d' Cargo.toml Cargo.lock | sha256sum | cut -d ' ' -f 1 && rustc --version; }

case "${1-}" in
  stamp)
    stamp
    exit
    ;;
  build) set -- build --release "${@:2}" ;;
  bench) ;;
  *) fail "scripts/release.sh knows no \"${1-}\"." "Known: build bench stamp." ;;
esac
options=()
if [[ "$(stamp)" == "$(cat target/release.profdata.for 2>/dev/null)" ]]; then
  # Beside what a user's own configuration says for this system, where build.rustflags would give way to it.
  options=(--config "target.'cfg(all())'.rustflags=['-Cprofile-use=$ROOT/target/release.profdata', '-Cllvm-args=-no-pgo-warn-mismatch']")
fi
exec cargo "${options[@]}" "$1" --locked "${@:2}"
