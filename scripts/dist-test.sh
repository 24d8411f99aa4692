#!/usr/bin/env bash
# make dist-test: installs the .deb of target/dist in a bare Debian and chats there. Needs root.
# usage: scripts/dist-test.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

((EUID == 0)) || fail "installing a Debian system needs root." "Run: sudo make dist-test"

steps 5

step "Prerequisites"
scripts/packages.sh dist-test
deb="$(find target/dist -maxdepth 1 -name 'simpleton_*.deb' -print -quit 2>/dev/null)"
[[ -n "$deb" ]] || fail "there is no .deb in target/dist." "Run: make dist"
step_done

folder="$(mktemp -d)"
root="$folder/debian"
server=
finish() {
  if [[ -n "$server" ]]; then kill "$server" 2>/dev/null || true; fi
  wait
  rm -rf --one-file-system "$folder"
}
trap finish EXIT

# Runs a command in the installed system, with a /proc that disappears with it. No function, so that $! is the process
# of a command in the background.
# shellcheck disable=SC2016
inside=(unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root"
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DATA_DIR=/var/lib/simpleton)
inside_as_simpleton=("${inside[@]}" setpriv --reuid=simpleton --regid=simpleton --clear-groups --no-new-privs)

step "A bare Debian, from this machine's mirror"
# shellcheck disable=SC2016
read -r mirror codename < <(
  apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | grep -vE -- '-(updates|security|backports)' | head -n 1
)
debootstrap --variant=minbase --include=libstdc++6,libgcc-s1 "$codename" "$root" "$mirror" >"$folder/debootstrap.log" 2>&1 || {
  tail -n 5 "$folder/debootstrap.log" >&2
  fail "debootstrap could not install $codename; the end of its log is above."
}
step_done

step "Installing $(basename "$deb")"
cp "$deb" "$root/simpleton.deb"
"${inside[@]}" dpkg --install /simpleton.deb >&2
[[ "$(stat -c '%U %a' "$root/var/lib/simpleton")" != "root 700" && "$(stat -c %a "$root/var/lib/simpleton")" == 700 ]] ||
  fail "/var/lib/simpleton does not belong to the user simpleton alone."
[[ ! -e "$root/etc/systemd/system/multi-user.target.wants/simpleton.service" ]] || fail "the service was enabled."
for file in share/man/man1/simpleton.1.gz share/bash-completion/completions/simpleton lib/systemd/system/simpleton.service; do
  [[ -s "$root/usr/$file" ]] || fail "/usr/$file is missing."
done
"${inside_as_simpleton[@]}" simpleton doctor >&2 || fail "simpleton doctor reports problems; see above."
step_done

step "Chatting with the demo model"
"${inside_as_simpleton[@]}" env HOST=127.0.0.1 PORT=0 simpleton serve >"$folder/output" 2>"$folder/log" &
server=$!
url=
for ((second = 0; second < 120; second++)); do
  url="$(sed -nE 's/^Simpleton .* is ready on (.*)/\1/p' "$folder/output")"
  [[ -z "$url" ]] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 1
done
[[ -n "$url" ]] || fail "the server did not start; its log:" "$(cat "$folder/log")"
answer="$(curl -sS --max-time 300 "$url/inference/chat" -H "X-API-Key: $(cat "$root/var/lib/simpleton/api-key")" \
  -H 'Content-Type: application/json' \
  -d '{"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}')"
say "      $answer"
[[ "$answer" == *Paris* ]] || fail "that is not the answer; the server's log:" "$(cat "$folder/log")"
kill "$server"
wait "$server" || fail "the server did not stop cleanly; its log:" "$(cat "$folder/log")"
server=
step_done

step "Removing the package"
"${inside[@]}" dpkg --remove simpleton >&2
[[ -s "$root/var/lib/simpleton/api-key" && -e "$root/etc/simpleton/env" ]] || fail "removing the package removed data."
"${inside[@]}" dpkg --purge simpleton >&2
for path in /var/lib/simpleton /etc/simpleton /usr/lib/simpleton /usr/bin/simpleton; do
  [[ ! -e "$root$path" ]] || fail "$path is left after a purge."
done
if grep -q simpleton "$root/etc/passwd"; then fail "the user simpleton is left after a purge."; fi
step_done
say "The package works. Checked in $(elapsed "$SECONDS")."
