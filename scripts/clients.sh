#!/usr/bin/env bash
# Installs the clients that tests/clients runs, and what tests/dashboard needs to drive a browser, in the versions of
# their lock files: those in Python in the cache directory, those in JavaScript beside their scripts.
# usage: scripts/clients.sh [--folder NAME]     --folder prints where the packages of tests/clients/NAME belong
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# folder NAME: prints the folder for a set of packages; other versions have another folder.
folder() {
  printf '%s/clients-%s-%s' "$(cache_dir)" "$1" "$(sha256sum "tests/clients/$1/requirements.txt" | cut -c1-12)"
}

install_python() {
  local venv
  venv="$(folder "$1")"
  [[ ! -f "$venv/complete" ]] || return 0
  say "      Installing tests/clients/$1/requirements.txt with pip, once …"
  rm -rf "$venv"
  make_venv "$venv"
  # Python compiles what a script imports; the rest, which is most, is not worth a minute.
  "$venv/bin/python" -m pip -q --disable-pip-version-check install --no-compile --only-binary :all: \
    --require-hashes -r "tests/clients/$1/requirements.txt" >&2 ||
    fail "pip could not install the clients." \
      "Check that pip can reach its package index (pip config list), then run: scripts/clients.sh"
  touch "$venv/complete"
}

if [[ "${1:-}" == --folder ]]; then
  folder "$2"
  exit 0
fi
mkdir -p "$(cache_dir)"
# An installation that another run has begun is waited for.
exec 9>"$(cache_dir)/clients.lock"
! command -v flock >/dev/null || flock 9
install_python python
install_python llama_index
npm_packages tests/clients/node scripts/clients.sh
npm_packages tests/dashboard scripts/clients.sh
