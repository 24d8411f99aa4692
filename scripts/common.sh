# Sourced by every script here: paths, settings, numbered steps with their duration, and error messages.
# Versions and hashes belong in the script that uses them.
# shellcheck shell=bash
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# rustup adds its directory to PATH only for shells started after its installation.
if ! command -v cargo >/dev/null && [[ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]]; then
  PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi

say() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [WHAT TO DO …]: prints why the script stops and how to go on, and exits.
fail() {
  say ""
  say "Stopped: $1"
  shift
  local line
  for line in "$@"; do say "  $line"; done
  exit 1
}

# setting NAME: prints a setting's value from the environment, or else from .env, as Simpleton does.
setting() {
  local value="${!1-}"
  if [[ -z "$value" && -f "$ROOT/.env" ]]; then
    value="$(dot_env "$1" <"$ROOT/.env")"
  fi
  printf '%s' "$value"
}

# dot_env NAME: prints a setting's value from the .env on standard input, by the rules of src/config/dot_env.rs: the
# last assignment counts, variables are not expanded, and a backslash in double quotes escapes quotes, backslashes
# and dollar signs.
dot_env() {
  local line raw value="" assignment single double
  assignment="^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=(.*)$"
  single="^[[:space:]]*'([^']*)'[[:space:]]*(#.*)?$"
  double='^[[:space:]]*"(([^"\\]|\\.)*)"[[:space:]]*(#.*)?$'
  while IFS= read -r line || [[ -n "$line" ]]; do
    line="${line#$'\xef\xbb\xbf'}"
    [[ "${line%$'\r'}" =~ $assignment ]] || continue
    raw="${BASH_REMATCH[2]}"
    if [[ "$raw" =~ $single ]]; then
      value="${BASH_REMATCH[1]}"
    elif [[ "$raw" =~ $double ]]; then
      value="$(sed -E 's/\\(["\\$])/\1/g' <<<"${BASH_REMATCH[1]}")"
    else
      value="$(sed -E 's/[[:space:]]+#.*$//; s/^[[:space:]]+//; s/[[:space:]]+$//' <<<"$raw")"
    fi
  done
  printf '%s' "$value"
}

# at_home PATH: expands a leading ~, which values in .env may have.
at_home() { if [[ "$1" == \~ || "$1" == \~/* ]]; then printf '%s' "$HOME${1:1}"; else printf '%s' "$1"; fi; }

data_dir() {
  local dir
  dir="$(at_home "$(setting DATA_DIR)")"
  printf '%s' "${dir:-${XDG_DATA_HOME:-$HOME/.local/share}/simpleton}"
}

# make_data_dir: creates the data directory, accessible only to its owner, as Simpleton does.
make_data_dir() { (umask 077 && mkdir -p "$(data_dir)"); }

cache_dir() { printf '%s' "${XDG_CACHE_HOME:-$HOME/.cache}/simpleton"; }

# steps N: sets the number of this script's steps. If another script runs this one, they are numbered [2.1], [2.2] …
STEP=0
STEPS=0
OUTER="${OUTER:-}"
step_began=0
steps() { STEPS=$1; }

# step TITLE: prints the title of the step that starts.
step() {
  STEP=$((STEP + 1))
  step_began=$SECONDS
  if [[ -n "$OUTER" ]]; then say "  [$OUTER.$STEP] $1"; else say "[$STEP/$STEPS] $1"; fi
}

# inner COMMAND…: runs another script as part of the current step.
inner() { OUTER="$STEP" "$@"; }

# step_done [NOTE]: prints how long the step took.
step_done() { say "      ${1:-done} ($(elapsed $((SECONDS - step_began))))"; }

elapsed() { if (($1 >= 60)); then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi; }

# at_least HAVE WANTED: succeeds if version HAVE is at least WANTED.
at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

# compose ARGS…: runs Docker Compose, as Docker's plugin or as Debian's separate program.
compose() {
  if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}

# need_rust: stops unless Rust is installed in the version that Cargo.toml requires.
need_rust() {
  local wanted have
  wanted="$(sed -nE 's/^rust-version *= *"([0-9.]+)".*/\1/p' Cargo.toml)"
  { command -v cargo && command -v rustc; } >/dev/null ||
    fail "Rust is not installed; $wanted or newer is needed." \
      "Install it from https://rustup.rs (one command, no root), open a new shell, and run this again."
  have="$(rustc --version | cut -d ' ' -f 2)"
  at_least "$have" "$wanted" ||
    fail "Rust $have is too old; $wanted or newer is needed." "With rustup: rustup update stable. Without: https://rustup.rs"
}

# to_build: prints the sets of packages (scripts/packages.sh) for preparing the engine and the models, without those
# that are there already and no longer need cmake or Python.
to_build() {
  scripts/engine.sh --check || echo engine
  scripts/embedding-model.sh --check || echo embedding
  scripts/text-model.sh --check || echo text
}

# make_venv FOLDER: creates a temporary Python environment, so that nothing is installed for the user or the system.
make_venv() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "Python 3.10 or newer is needed; python3 is $(python3 --version 2>&1 || echo missing)." \
      "Install it, or put a newer python3 first on PATH, and run this again."
  python3 -m venv "$1" >&2 ||
    fail "python3 could not create a virtual environment." "On Debian and Ubuntu: sudo apt-get install python3-venv"
}

# npm_packages FOLDER SCRIPT: installs a folder's packages by its lock file, once; SCRIPT is what to run after a failure.
npm_packages() {
  ! cmp -s "$1/package-lock.json" "$1/node_modules/.complete" || return 0
  say "      Installing $1/package-lock.json with npm, once …"
  npm ci --prefix "$1" --silent --no-progress --no-audit --no-fund >&2 ||
    fail "npm could not install the packages of $1." \
      "Check that npm can reach its registry (npm config get registry), then run: $2"
  cp "$1/package-lock.json" "$1/node_modules/.complete"
}
