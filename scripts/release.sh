#!/usr/bin/env bash
# The release build, and the benchmarks of it: cargo, which is told from a record of earlier benchmarks what a
# request goes through (scripts/profile.sh makes it; docs/adr/0019 says why). A compiler that finds a function
# changed since then, or is another than the one of the record, compiles it as if there were none.
# usage: scripts/release.sh build|bench [arguments of cargo]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Beside what a user's own configuration says for this system, where build.rustflags would give way to it.
flags="target.'cfg(all())'.rustflags=['-Cprofile-use=$ROOT/benches/release.profdata', '-Cllvm-args=-no-pgo-warn-mismatch']"

case "${1-}" in
  build) set -- build --release "${@:2}" ;;
  bench) ;;
  *) fail "scripts/release.sh knows no \"${1-}\"." "Known: build bench." ;;
esac
exec cargo --config "$flags" "$1" --locked "${@:2}"
