#!/usr/bin/env bash
# Installs the missing system packages of one or more sets with apt-get, as root or with passwordless sudo. If it
# cannot, it lists the missing packages and stops.
# usage: scripts/packages.sh SET …     sets: rust engine embedding text dashboard run test check bench profile dist-test
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

required=() reasons=() wished=()

# need PACKAGE REASON COMMAND…: requires a Debian package; COMMAND succeeds if it is installed.
need() {
  if ! "${@:3}" >/dev/null 2>&1 </dev/null; then
    required+=("$1")
    reasons+=("$2 (Debian and Ubuntu: $1)")
  fi
}

# wish PACKAGE REASON COMMAND…: as need, but optional; the caller reports what it skips without the package.
wish() {
  "${@:3}" >/dev/null 2>&1 </dev/null || wished+=("$1")
}

look() {
  case "$1" in
    rust)
      need g++ "a C++ compiler" c++ --version
      ;;
    embedding)
      need python3 "Python 3.10 or newer" python3 --version
      need python3-venv "Python's venv module" python3 -c 'import ensurepip, venv'
      ;;
    text)
      need python3 "Python 3.10 or newer" python3 --version
      need curl "curl" curl --version
      ;;
    engine)
      look rust
      look embedding
      need cmake "cmake" cmake --version
      need make "make" make --version
      wish ninja-build "ninja" ninja --version
      ;;
    dashboard)
      wish nodejs "Node.js" node --version
      wish npm "npm" npm --version
      ;;
    run)
      look rust
      need curl "curl" curl --version
      wish tesseract-ocr "Tesseract" tesseract --version
      ;;
    test)
      look run
      look embedding
      need nodejs "Node.js 18 or newer, for the dashboard and clients in JavaScript" node --version
      need npm "npm" npm --version
      need chromium "Chromium, for tests of the dashboard" chromium --version
      need redis-server "Redis, for tests of the cache" redis-server --version
      need redis-tools "redis-cli" redis-cli --version
      need openssl "openssl, for Redis over TLS" openssl version
      need tesseract-ocr "Tesseract, for tests of OCR" tesseract --version
      need fonts-dejavu-core "the DejaVu fonts, which tests draw text with" \
        test -f /usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf
      need docker-registry "a registry, for tests of downloads" docker-registry --version
      need prometheus "Prometheus, for tests of the metrics" prometheus --version
      wish docker-compose "docker compose" compose version
      ;;
    check)
      look rust
      look embedding
      look dashboard
      wish shellcheck "shellcheck" shellcheck --version
      wish docker-compose "docker compose" compose version
      wish systemd "systemd-analyze" systemd-analyze --version
      wish prometheus "promtool" promtool --version
      ;;
    bench)
      look rust
      need nginx-light "nginx, which benchmarks compare with" nginx -v
      need redis-server "Redis, for benchmarks of the cache" redis-server --version
      ;;
    profile)
      need llvm-19 "llvm-profdata of LLVM 19, which merges profiles" llvm-profdata-19 --version
      ;;
    dist-test)
      need debootstrap "debootstrap, which installs a bare Debian" debootstrap --version
      need curl "curl" curl --version
      ;;
    *)
      fail "there is no package set \"$1\"." "Sets: rust engine embedding text dashboard run test check bench profile dist-test."
      ;;
  esac
}

look_all() {
  required=() reasons=() wished=()
  local set
  for set in "${sets[@]}"; do look "$set"; done
}

# apt ARGS…: runs apt-get; fails if it is missing or this user may not run it.
apt() {
  command -v apt-get >/dev/null || return 1
  local as=()
  if ((EUID != 0)); then
    { command -v sudo && sudo -n true; } >/dev/null 2>&1 || return 1
    as=(sudo -n)
  fi
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null >&2
}

install() {
  say "      Installing with apt-get: $*"
  # The first attempt fails if the package lists are missing or outdated.
  apt install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; }
}

sets=("$@")
((${#sets[@]} > 0)) || fail "no package set given." "Example: scripts/packages.sh run"

look_all
if ((${#required[@]} > 0)); then
  install "${required[@]}" || true
fi
for package in ${wished[@]+"${wished[@]}"}; do
  install "$package" || say "      Continuing without $package."
done

look_all
if ((${#required[@]} > 0)); then
  say ""
  say "These packages are missing and could not be installed:"
  for reason in "${reasons[@]}"; do say "  - $reason"; done
  fail "install them, then run this again." "On Debian and Ubuntu: sudo apt-get install ${required[*]}"
fi
