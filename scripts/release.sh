#!/usr/bin/env bash
# The release build, and the benchmarks of it: cargo, which is told from a record of earlier benchmarks what a
# request goes through (scripts/profile.sh makes it; docs/adr/0019 says why). A function that has changed since
# then is compiled as if there were none, and all are with another compiler, other crates, or flags in RUSTFLAGS.
# usage: scripts/release.sh build|bench [arguments of cargo] | stamp
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Beside what a user's own configuration says for this system, where build.rustflags would give way to it.
flags="target.'cfg(all())'.rustflags=['-Cprofile-use=$ROOT/benches/release.profdata', '-Cllvm-args=-no-pgo-warn-mismatch']"

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
[[ "$(stamp)" == "$(<benches/release.profdata.for)" ]] ||
  say "      Without benches/release.profdata, which is for other crates or another compiler: somewhat slower."
exec cargo --config "$flags" "$1" --locked "${@:2}"
