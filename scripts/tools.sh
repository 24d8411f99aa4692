#!/usr/bin/env bash
# Installs the cargo tools that checks and tests use, in pinned versions, if they are missing.
# usage: scripts/tools.sh nextest|deny …
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NEXTEST=0.9.143
DENY=0.20.2

# ensure NAME WANTED MINUTES: installs a tool unless this version or a newer one is installed.
ensure() {
  local have
  have="$("cargo" "${1#cargo-}" --version 2>/dev/null | sed -nE '1s/^[a-z-]+ ([0-9.]+).*/\1/p' || true)"
  if [[ -n "$have" ]] && at_least "$have" "$2"; then return; fi
  say "      Installing $1 $2 with cargo (about $3 minutes on 2 cores, once) …"
  cargo install --locked "$1@$2" ||
    fail "$1 $2 could not be installed." "To install it yourself, run: cargo install --locked $1@$2"
}

for tool in "$@"; do
  case "$tool" in
    nextest) ensure cargo-nextest "$NEXTEST" 5 ;;
    deny) ensure cargo-deny "$DENY" 4 ;;
    *) fail "there is no tool \"$tool\"." "Tools: nextest deny." ;;
  esac
done
