#!/usr/bin/env bash
# make check: all static checks. Stops at the first failure.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

steps 11

has() { command -v "$1" >/dev/null; }

step "Prerequisites"
scripts/packages.sh check
need_rust
if has rustup; then
  # rustup's minimal profile lacks these two.
  { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 || rustup component add rustfmt clippy
fi
scripts/tools.sh deny
step_done

step "Format: cargo fmt --check"
cargo fmt --check || fail "the code is not formatted." "Run: cargo fmt"
step_done

step "Lints: cargo clippy, warnings denied"
cargo clippy --all-targets --locked --quiet -- -D warnings || fail "clippy reported warnings or errors; see above."
step_done

step "Dependencies: licenses, sources, banned and vulnerable crates"
cargo deny --log-level error --locked check bans licenses sources ||
  fail "a dependency violates deny.toml; see above."
if timeout 120 cargo deny --log-level off fetch db >/dev/null 2>&1 </dev/null; then
  cargo deny --log-level error --locked check --disable-fetch advisories ||
    fail "a dependency has a known vulnerability; see above." "Update it: cargo update -p NAME"
else
  say "      Known vulnerabilities: NOT checked, because the RustSec database on GitHub could not be downloaded."
fi
step_done

step "Documentation: cargo doc, warnings denied"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet || fail "the documentation has errors; see above."
step_done

step "Scripts: shellcheck"
scripts=(scripts/*.sh .ci/run deploy/debian/p*)
for script in "${scripts[@]}"; do
  bash -n "$script" || fail "$script is not valid bash."
done
if has shellcheck; then
  shellcheck "${scripts[@]}" || fail "shellcheck reported problems; see above."
  step_done
else
  step_done "syntax only: shellcheck is not installed"
fi

step "docs/openapi.json: openapi-spec-validator"
# Kept between runs, because pip needs several seconds.
requirements=scripts/requirements/openapi-tools.txt
venv="$(cache_dir)/openapi-$(sha256sum "$requirements" | cut -c1-12)"
if [[ ! -d "$venv" ]]; then
  rm -rf "$venv.partial"
  make_venv "$venv.partial"
  "$venv.partial/bin/python" -m pip -q --disable-pip-version-check install --only-binary :all: --require-hashes \
    -r "$requirements" >&2 ||
    fail "pip could not install openapi-spec-validator." \
      "Check that pip can reach its package index (pip config list), then run this again."
  mv "$venv.partial" "$venv"
fi
"$venv/bin/python" -m openapi_spec_validator docs/openapi.json >&2 ||
  fail "docs/openapi.json is not valid OpenAPI; see above."
step_done

step "dashboard/: svelte-check"
if has node && has npm; then
  inner scripts/dashboard.sh --packages
  npm run check --prefix dashboard --silent >&2 || fail "svelte-check reported problems; see above."
  step_done
else
  step_done "skipped: Node.js is not installed"
fi

step "docker-compose.yml: docker compose config"
if compose version >/dev/null 2>&1; then
  # In a directory without .env, as in a fresh clone.
  fresh="$(mktemp -d)"
  trap 'rm -rf "$fresh"' EXIT
  cp docker-compose.yml "$fresh"
  (cd "$fresh" && compose config -q) || fail "docker-compose.yml is not valid; see above."
  step_done
else
  step_done "skipped: docker compose is not installed"
fi

step "deploy/simpleton.service: systemd-analyze verify"
if has systemd-analyze; then
  # systemd-analyze fails if the program in ExecStart does not exist.
  folder="$(mktemp -d)"
  trap 'rm -rf "${fresh:-}" "$folder"' EXIT
  sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' deploy/simpleton.service >"$folder/simpleton.service"
  complaints="$(systemd-analyze verify --man=no "$folder/simpleton.service" 2>&1 | grep -F simpleton.service || true)"
  [[ -z "$complaints" ]] || fail "the unit has errors:" "$complaints"
  step_done
else
  step_done "skipped: systemd-analyze is not installed"
fi

step "deploy/: promtool check and test"
if has promtool; then
  (cd deploy && promtool check config prometheus.yml && promtool check rules --lint-fatal alerts.yml && promtool test rules alerts.test.yml) >/dev/null ||
    fail "Prometheus' configuration or alerting rules are invalid, or a test of the rules failed; see above."
  step_done
else
  step_done "skipped: promtool is not installed"
fi

say "All checks passed in $(elapsed "$SECONDS")."
