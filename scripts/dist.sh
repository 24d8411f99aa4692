#!/usr/bin/env bash
# make dist: packages of the program, its engine, completions, man pages and systemd unit, in target/dist: a tarball,
# and a .deb where dpkg-deb is installed. The .deb comes from dpkg-deb and not from cargo-deb, because both packages
# then have the same tree, and nothing has to be compiled for it.
# usage: scripts/dist.sh
# PROGRAM=FILE packages this simpleton instead of a release build. ENGINE=FOLDER takes llama-server and its license from
# this folder, instead of building an engine for any x86-64 CPU with AVX2; ENGINE_GPU is off unless it is set.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

VERSION="$(sed -nE '0,/^version = /s/^version = "(.*)"/\1/p' Cargo.toml)"
DIST="$ROOT/target/dist"
# Files have the date of the commit, so that two packages of one commit are equal.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

# licenses: prints the licenses of all crates that the program contains.
licenses() {
  local name version license folder text
  cargo tree --locked --edges normal --prefix none --format '{p}|{l}' | sed 's/ (\*)$//' | sort -u |
    while IFS='|' read -r name license; do
      read -r name version _ <<<"$name"
      [[ "$name" != simpleton ]] || continue
      printf '\n==== %s %s: %s ====\n' "$name" "${version#v}" "$license"
      for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-${version#v}"; do
        for text in "$folder"/{LICENSE,LICENCE,COPYING,NOTICE,UNLICENSE,license}*; do
          [[ ! -f "$text" ]] || cat "$text"
        done
      done
    done
}

# dashboard_licenses: prints the licenses of the packages that are part of the dashboard; nothing if they are not
# installed, and so not built in.
dashboard_licenses() {
  local folder text
  [[ -d dashboard/node_modules ]] || return 0
  npm ls --prefix dashboard --omit=dev --all --parseable 2>/dev/null | sed 1d | sort -u |
    while read -r folder; do
      printf '\n==== %s ====\n' "$(node -p 'const p = require(process.argv[1] + "/package.json"); p.name + " " + p.version + ": " + p.license' "$folder")"
      for text in "$folder"/{LICENSE,LICENCE,license}*; do
        [[ ! -f "$text" ]] || cat "$text"
      done
    done
}

# lay_out FOLDER: installs everything below FOLDER, as below /usr or /usr/local.
lay_out() {
  local folder="$1"
  install -D -m 755 "$program" "$folder/bin/simpleton"
  install -D -m 755 "$engine/llama-server" "$folder/lib/simpleton/llama-server"
  install -D -m 644 deploy/simpleton.service "$folder/lib/systemd/system/simpleton.service"
  install -d "$folder"/share/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
  "$program" man "$folder/share/man/man1"
  "$program" completions bash >"$folder/share/bash-completion/completions/simpleton"
  "$program" completions zsh >"$folder/share/zsh/site-functions/_simpleton"
  "$program" completions fish >"$folder/share/fish/vendor_completions.d/simpleton.fish"
  install -D -m 644 -t "$folder/share/doc/simpleton" README.md CHANGELOG.md LICENSE .env.example "$engine/LICENSE.llama.cpp"
  licenses >"$folder/share/doc/simpleton/LICENSES.crates"
  dashboard_licenses >"$folder/share/doc/simpleton/LICENSES.dashboard"
  chmod -R u=rwX,go=rX "$folder"
}

make_tarball() {
  local name
  name="simpleton-$VERSION-linux-$(uname -m)"
  lay_out "$stage/$name"
  tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c "$name" |
    gzip -9n >"$DIST/$name.tar.gz"
  mv "$stage/$name" "$stage/usr"
}

# libraries: prints the packages of the shared libraries that the programs need, in the versions that they need.
libraries() {
  (
    mkdir -p "$stage/shlibs/debian" && touch "$stage/shlibs/debian/control" && cd "$stage/shlibs"
    dpkg-shlibdeps -O "$stage/usr/bin/simpleton" "$stage/usr/lib/simpleton/llama-server" 2>/dev/null |
      sed -n 's/^shlibs:Depends=//p'
  )
}

make_deb() {
  local root="$stage/deb" doc depends
  depends="$(libraries)"
  [[ -n "$depends" ]] || fail "dpkg-shlibdeps found no libraries." "Run it by hand on target/dist to see why."
  mkdir -p "$root"
  mv "$stage/usr" "$root/usr"
  doc="$root/usr/share/doc/simpleton"
  # A fixed user, so that "sudo -u simpleton" reaches the models; the unit's own comment is about other installations.
  sed -i -e '1,/^$/d' -e '/^DynamicUser=/d' -e 's|/usr/local/bin|/usr/bin|' "$root/usr/lib/systemd/system/simpleton.service"
  gzip -9n "$root"/usr/share/man/man1/*.1
  { printf 'Simpleton: Apache-2.0, see /usr/share/common-licenses/Apache-2.0\n\nllama.cpp:\n\n' &&
    cat "$doc/LICENSE.llama.cpp" && printf '\nCrates:\n' && cat "$doc/LICENSES.crates" &&
    printf '\nPackages of the dashboard:\n' && cat "$doc/LICENSES.dashboard"; } >"$doc/copyright"
  rm "$doc/LICENSE" "$doc/LICENSE.llama.cpp" "$doc/LICENSES.crates" "$doc/LICENSES.dashboard"
  gzip -9n "$doc/CHANGELOG.md"
  # Read by root before it starts the server, and may contain secrets.
  install -D -m 600 "$doc/.env.example" "$root/etc/simpleton/env" && rm "$doc/.env.example"
  install -d -m 755 "$root/DEBIAN"
  install -m 755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN"
  echo /etc/simpleton/env >"$root/DEBIAN/conffiles"
  sed -e "s|@VERSION@|$VERSION|" -e "s|@ARCHITECTURE@|$(dpkg --print-architecture)|" -e "s|@DEPENDS@|$depends|" \
    -e "s|@SIZE@|$(du -sk "$root/usr" | cut -f 1)|" deploy/debian/control >"$root/DEBIAN/control"
  (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  dpkg-deb --root-owner-group --build "$root" "$DIST" >/dev/null
}

steps 5

step "Prerequisites"
need_rust
mkdir -p "$DIST"
rm -f "$DIST"/simpleton[-_]*
stage="$(mktemp -d "$DIST/stage.XXXXXX")"
trap 'rm -rf "$stage"' EXIT
step_done

step "The dashboard: npm run build"
if [[ -n "${PROGRAM:-}" ]]; then
  step_done "not needed: PROGRAM is set"
else
  scripts/packages.sh dashboard
  inner scripts/dashboard.sh
  step_done
fi

step "Simpleton: cargo build --release (about 14 minutes on 2 cores, the first time)"
if [[ -n "${PROGRAM:-}" ]]; then
  program="$PROGRAM"
  step_done "not needed: PROGRAM is set"
else
  scripts/release.sh build || fail "Simpleton did not compile; the first error is above."
  program="${CARGO_TARGET_DIR:-target}/release/simpleton"
  step_done
fi

step "The engine: llama.cpp's llama-server, for any CPU of this kind"
if [[ -n "${ENGINE:-}" ]]; then
  engine="$ENGINE"
  step_done "not needed: ENGINE is set"
else
  scripts/packages.sh engine
  export DATA_DIR="$DIST/data" PORTABLE=1 ENGINE_GPU="${ENGINE_GPU:-off}"
  inner scripts/engine.sh
  engine="$DIST/data/engine"
  step_done
fi

step "Packages in target/dist"
make_tarball
if command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null; then
  make_deb
  step_done
else
  step_done "the tarball alone: dpkg-deb or dpkg-shlibdeps (package dpkg-dev) is not installed"
fi
(cd "$DIST" && ls -l simpleton[-_]*) >&2
