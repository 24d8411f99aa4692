#!/usr/bin/env bash
# Builds the engine, llama.cpp's llama-server, and installs it in the data directory. The llama.cpp source comes from
# the PyPI source package llama-cpp-python, pinned by version and hash. Does nothing if this version is installed.
# usage: scripts/engine.sh [--check|--gpu]
#   --check only succeeds if the engine is installed; --gpu only prints what it is built for: CPU, CUDA, Vulkan …
# ENGINE_GPU=auto|off|cuda|rocm|vulkan|metal selects the GPU backend; auto takes the first one whose tools are installed.
# PORTABLE=1 builds for any x86-64 CPU with AVX2 instead of this machine's CPU; JOBS=N sets the number of parallel jobs.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Their installers do not add these to PATH.
PATH="$PATH:/usr/local/cuda/bin:/opt/rocm/bin"

# llama.cpp needs this extension's declarations, which Vulkan 1.3.272 introduced.
VULKAN_HEADERS='
#include <vulkan/vulkan.hpp>
#include <spirv/unified1/spirv.hpp>
#ifndef VK_EXT_layer_settings
#error too old
#endif'

# has_tools BACKEND: succeeds if what builds this GPU backend is installed.
has_tools() {
  case "$1" in
    cuda) command -v nvcc ;;
    rocm) command -v hipcc ;;
    vulkan) command -v glslc && c++ -E -x c++ ${VULKAN_SDK:+-I"$VULKAN_SDK/include"} - <<<"$VULKAN_HEADERS" ;;
    metal) [[ "$(uname -s)" == Darwin ]] ;;
  esac >/dev/null 2>&1
}

# gpu: prints the GPU backend to build, or nothing.
gpu() {
  local wanted backend
  wanted="$(setting ENGINE_GPU)"
  wanted="${wanted,,}"
  case "${wanted:-auto}" in
    auto)
      for backend in cuda rocm vulkan metal; do
        if has_tools "$backend"; then
          printf '%s' "$backend"
          return
        fi
      done
      ;;
    off) ;;
    cuda) has_tools cuda || fail "ENGINE_GPU is cuda, but nvcc is not installed." "Install NVIDIA's CUDA toolkit, or set ENGINE_GPU=auto." ;;&
    rocm) has_tools rocm || fail "ENGINE_GPU is rocm, but hipcc is not installed." "Install AMD's ROCm, or set ENGINE_GPU=auto." ;;&
    vulkan)
      has_tools vulkan || fail "ENGINE_GPU is vulkan, but glslc, the headers of Vulkan (1.3.272 or newer) or those of SPIR-V are missing." \
        "On Debian 13 and Ubuntu 24.04, or newer: sudo apt-get install glslc libvulkan-dev spirv-headers" \
        "Elsewhere, install the Vulkan SDK and set VULKAN_SDK to its directory. Or set ENGINE_GPU=auto."
      ;;&
    metal) has_tools metal || fail "ENGINE_GPU is metal, but this is not macOS." "Set ENGINE_GPU=auto." ;;&
    cuda | rocm | vulkan | metal) printf '%s' "$wanted" ;;
    *) fail "ENGINE_GPU is not a GPU backend." "Set it to auto, off, cuda, rocm, vulkan or metal." ;;
  esac
}

GPU="$(gpu)"
case "$GPU" in
  "") NAME=CPU ;;
  cuda) NAME=CUDA ;;
  rocm) NAME=ROCm ;;
  vulkan) NAME=Vulkan ;;
  metal) NAME=Metal ;;
esac
if [[ "${1:-}" == --gpu ]]; then
  echo "$NAME"
  exit
fi

PIN="$(sed -nE 's/^(llama-cpp-python==[^ ]+).*/\1/p' scripts/requirements/engine-source.txt)"
KIND=native
[[ "${PORTABLE:-}" != 1 ]] || KIND=portable
KIND="$KIND${GPU:+-$GPU}"
# llama.cpp's code for AMX ends with an illegal instruction at the first quantized model (ggml-org/llama.cpp#26954).
WITHOUT_AMX="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
if [[ "${PORTABLE:-}" != 1 ]] && grep -qw amx_tile /proc/cpuinfo 2>/dev/null; then KIND="$KIND-without-amx"; fi
STAMP="$PIN $KIND"

TARGET="$(data_dir)/engine"
WORK="$(cache_dir)/engine-${PIN#*==}-$KIND"

# Also runs the binary: one copied from another machine may use instructions that this CPU lacks.
is_built() {
  [[ "$(cat "$TARGET/llama-server.version" 2>/dev/null)" == "$STAMP" ]] &&
    "$TARGET/llama-server" --version >/dev/null 2>&1
}

# The compiler needs up to about 1.5 GB per job.
jobs_that_fit() {
  local cpus memory limit
  cpus="$(nproc)"
  memory="$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)"
  limit="$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)"
  if [[ "$limit" =~ ^[0-9]+$ ]] && ((limit / 1048576 < memory)); then memory=$((limit / 1048576)); fi
  local jobs=$((memory / 1536))
  ((jobs >= 1)) || jobs=1
  ((jobs <= cpus)) || jobs=$cpus
  echo "$jobs"
}

fetch_source() {
  [[ ! -d "$WORK/llama.cpp" ]] || return 0
  local venv="$WORK/venv"
  rm -rf "$venv" "$WORK/sdist"
  make_venv "$venv"
  local pip=("$venv/bin/python" -m pip -q --disable-pip-version-check)
  # pip builds the metadata of source packages, which needs these build tools; their hashes are pinned, too.
  if ! "${pip[@]}" install --only-binary :all: --require-hashes -r scripts/requirements/engine-source-tools.txt >&2 ||
    ! "${pip[@]}" download --no-deps --no-build-isolation --no-binary llama-cpp-python --require-hashes \
      --dest "$WORK/sdist" -r scripts/requirements/engine-source.txt >&2; then
    fail "pip could not download the engine's source ($PIN)." \
      "Check that pip can reach its package index (pip config list), then run this again." \
      "Or set LLAMA_SERVER to the path of a llama-server, or OLLAMA_BASE_URL to an Ollama server."
  fi
  rm -rf "$WORK/unpacked"
  mkdir -p "$WORK/unpacked"
  tar -xzf "$WORK"/sdist/llama_cpp_python-*.tar.gz -C "$WORK/unpacked" --strip-components=2 --wildcards '*/vendor/llama.cpp'
  mv "$WORK/unpacked/llama.cpp" "$WORK/llama.cpp"
  rm -rf "$venv" "$WORK/sdist" "$WORK/unpacked"
}

configure() {
  local generator=()
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  local native=ON
  [[ "${PORTABLE:-}" != 1 ]] || native=OFF
  # Metal would be on by default.
  local backend=(-DGGML_METAL=OFF)
  case "$GPU" in
    cuda) backend+=(-DGGML_CUDA=ON) ;;
    rocm) backend+=(-DGGML_HIP=ON) ;;
    vulkan) backend+=(-DGGML_VULKAN=ON) ;;
    metal) backend=(-DGGML_METAL=ON) ;;
  esac
  # A compiler that does not know these options does not use AMX either.
  # shellcheck disable=SC2086
  if [[ "$KIND" == *-without-amx ]] && c++ $WITHOUT_AMX -E -x c++ /dev/null >/dev/null 2>&1; then
    backend+=(-DCMAKE_C_FLAGS="$WITHOUT_AMX" -DCMAKE_CXX_FLAGS="$WITHOUT_AMX")
  fi
  if [[ "$GPU" == rocm ]]; then
    HIPCXX="$(hipconfig -l)/clang"
    HIP_PATH="$(hipconfig -R)"
    export HIPCXX HIP_PATH
  fi
  # Without OpenMP, whose spinning threads become very slow when other processes compete for the cores.
  cmake -S "$WORK/llama.cpp" -B "$WORK/build" ${generator[@]+"${generator[@]}"} -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
    -DGGML_OPENMP=OFF -DGGML_NATIVE="$native" "${backend[@]}" >"$WORK/configure.log" 2>&1 || {
    tail -n 20 "$WORK/configure.log" >&2
    fail "cmake could not configure the engine; the end of its log is above, all of it in $WORK/configure.log." \
      ${GPU:+"To build it for the CPU alone: ENGINE_GPU=off"}
  }
}

compile() {
  cmake --build "$WORK/build" --target llama-server --parallel "$jobs" >&2 ||
    fail "the engine did not compile; the first error is above." \
      "If the compiler was killed, memory ran out: run this again with JOBS=1. It continues where it stopped." \
      ${GPU:+"If $NAME is the problem, build it for the CPU alone: ENGINE_GPU=off"}
}

install() {
  local built="$WORK/build/bin/llama-server"
  "$built" --version >/dev/null 2>&1 || fail "the engine was built but does not start." "See: $built --version"
  make_data_dir
  mkdir -p "$TARGET"
  cp "$WORK/llama.cpp/LICENSE" "$TARGET/LICENSE.llama.cpp"
  # Renamed into place, so that a running server never sees a partial file, nor a version stamp without its binary.
  strip -o "$TARGET/llama-server.new" "$built" || cp "$built" "$TARGET/llama-server.new"
  rm -f "$TARGET/llama-server.version"
  mv -f "$TARGET/llama-server.new" "$TARGET/llama-server"
  printf '%s\n' "$STAMP" >"$TARGET/llama-server.version.new"
  mv -f "$TARGET/llama-server.version.new" "$TARGET/llama-server.version"
  rm -rf "$WORK"
}

if is_built; then exit 0; fi
if [[ "${1:-}" == --check ]]; then exit 1; fi

mkdir -p "$WORK"
exec 9>"$WORK.lock"
if ! flock -n 9; then
  say "      Another run is building the engine; waiting for it …"
  flock 9
  if is_built; then exit 0; fi
  mkdir -p "$WORK"
fi

jobs="${JOBS:-$(jobs_that_fit)}"
steps 3
step "Downloading the engine's source ($PIN, 77 MB) …"
fetch_source
step_done
minutes="6 to 15"
[[ -z "$GPU" ]] || minutes="20 to 60"
step "Building the engine from llama.cpp for $NAME, once: $minutes minutes on 2 cores, here with $jobs parallel jobs …"
configure
compile
step_done
step "Installing the engine in $TARGET …"
install
step_done
