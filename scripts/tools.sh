#!/usr/bin/env bash
# Installs the cargo tools that the checks and tests use, at one version for everybody, when they are missing.
# usage: scripts/tools.sh nextest|deny …
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NEXTEST=0.9.143
DENY=0.20.2

# ensure NAME WANTED MINUTES: a newer one that is already there will do.
ensure() {
  local have
  have="$("cargo" "${1#cargo-}" --version 2>/dev/null | sed -nE '1s/^[a-z-]+ ([0-9.]+).*/\1/p' || true)"
  if [[ -n "$have" ]] && at_least "$have" "$2"; then return; fi
  say "      Installing $1 $2 with cargo (about $3 minutes on 2 cores, once) …"
  cargo install --locked "$1@$2" ||
    fail "$1 $2 could not be installed." "Install it yourself: cargo install --locked $1@$2"
}

for tool in "$@"; do
  case "$tool" in
    nextest) ensure cargo-nextest "$NEXTEST" 5 ;;
    deny) ensure cargo-deny "$DENY" 4 ;;
    *) fail "scripts/tools.sh knows no tool \"$tool\"." "Tools: nextest deny." ;;
  esac
done
