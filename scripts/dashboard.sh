#!/usr/bin/env bash
# make dashboard: builds the dashboard in dashboard/dist, from where release builds embed it: installs its packages by
# their lock file, builds it with Vite, and compresses its texts. Does nothing if it was built from the same sources.
# usage: scripts/dashboard.sh [--check|--packages]
#   --check only succeeds if it is built; --packages only installs its packages, for svelte-check
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NODE=18
DIST=dashboard/dist

# stamp: prints a hash of all that the dashboard is built from.
stamp() {
  find dashboard \( -name node_modules -o -path "$DIST*" -o -name schema.d.ts \) -prune -o -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum scripts/dashboard.sh | sha256sum | cut -d ' ' -f 1
}

is_built() { [[ -f dashboard/package.json && "$(cat "$DIST/.stamp" 2>/dev/null)" == "$(stamp)" ]]; }

need_node() {
  { command -v node && command -v npm; } >/dev/null ||
    fail "Node.js and npm are not installed; the dashboard needs Node.js $NODE or newer." \
      "On Debian and Ubuntu: sudo apt-get install nodejs npm"
  local have
  have="$(node --version)"
  at_least "${have#v}" "$NODE" ||
    fail "Node.js $have is too old; the dashboard needs $NODE or newer." "See https://nodejs.org"
}

# build: in a folder of its own, so that a build that fails leaves the last one as it is.
build() {
  local partial="$DIST.partial" stamp
  stamp="$(stamp)"
  say "      Building with Vite …"
  rm -rf "$partial"
  npm run build --prefix dashboard --silent --no-progress -- --logLevel warn --emptyOutDir --outDir "${partial#dashboard/}" >&2 ||
    fail "the dashboard could not be built; the first error is above."
  # The server sends them as they are, or inflates them for clients that do not accept gzip.
  find "$partial" -type f \( -name '*.html' -o -name '*.js' -o -name '*.css' -o -name '*.svg' -o -name '*.json' \
    -o -name '*.webmanifest' -o -name '*.txt' \) -exec gzip -9n {} +
  echo "$stamp" >"$partial/.stamp"
  rm -rf "$DIST"
  mv "$partial" "$DIST"
  # Newer than a compilation that began meanwhile.
  touch "$DIST"
}

if [[ "${1:-}" == --check ]]; then
  if is_built; then exit 0; else exit 1; fi
fi
[[ -f dashboard/package.json ]] || fail "there is no dashboard/package.json." "Get the whole source of Simpleton."
mkdir -p "$(cache_dir)"
# A build that another run has begun is waited for.
exec 9>"$(cache_dir)/dashboard.lock"
! command -v flock >/dev/null || flock 9
if [[ "${1:-}" == --packages ]]; then
  need_node
  npm_packages dashboard scripts/dashboard.sh
elif ! is_built; then
  need_node
  npm_packages dashboard scripts/dashboard.sh
  build
fi
