#!/usr/bin/env bash
# Builds or benchmarks the release build, with profile-guided optimization if "make profile" has recorded a profile for
# this compiler and these dependencies (docs/adr/0019).
# usage: scripts/release.sh build|bench [arguments of cargo] | stamp
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# stamp: prints what the function names in a profile depend on: a hash of the dependencies, and the compiler's version.
stamp() { sed '/^#/d' Cargo.toml Cargo.lock | sha256sum | cut -d ' ' -f 1 && rustc --version; }

case "${1-}" in
  stamp)
    stamp
    exit
    ;;
  build) set -- build --release "${@:2}" ;;
  bench) ;;
  *) fail "scripts/release.sh has no command \"${1-}\"." "Commands: build bench stamp." ;;
esac
options=()
if [[ "$(stamp)" == "$(cat target/release.profdata.for 2>/dev/null)" ]]; then
  # Adds to target.*.rustflags in a user's configuration; build.rustflags would be ignored if those are set.
  options=(--config "target.'cfg(all())'.rustflags=['-Cprofile-use=$ROOT/target/release.profdata', '-Cllvm-args=-no-pgo-warn-mismatch']")
fi
exec cargo "${options[@]}" "$1" --locked "${@:2}"
