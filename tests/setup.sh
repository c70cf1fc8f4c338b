#!/usr/bin/env bash
# Installs what is missing to build (`build`) and to test (`test`) watchfloor on Debian or Ubuntu, by package name.
# Everything else comes from Cargo. Asks for sudo only when something is missing.
set -euo pipefail
want=${1:-build}

missing=()
need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

need cc build-essential
need make make
need cmake cmake
# Bindings to llama.cpp are generated with libclang.
ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1 || missing+=(libclang-dev)
if [ "$want" = test ]; then
  need git git
  need rg ripgrep
  need ansible-playbook ansible
  need java default-jdk-headless
  need mvn maven
  need openssl openssl
  need ssh-agent openssh-client
  [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
  need etcd etcd-server
  need curl curl
  need prometheus prometheus
  need restic restic
  need pgbackrest pgbackrest
  need pg_dump postgresql
  need python3 python3
  # Weights for the tests of local models come as a package.
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  need dbus-run-session dbus
  need gnome-keyring-daemon gnome-keyring
fi

if [ ${#missing[@]} -gt 0 ]; then
  echo "installing: ${missing[*]}"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "Rust is missing: install it from https://rustup.rs (1.91 or newer), then run this again" >&2
  exit 2
fi
