#!/usr/bin/env bash
# A real Prometheus for tests.
#
#   prometheus.sh start DIR    backfills DIR/in.om (OpenMetrics) if there, starts a server with its data in DIR on a free
#                              loopback port, waits until it is ready, and writes DIR/env: URL, PID
#   prometheus.sh stop DIR     ends it by process id and waits
#
# Exit 77: something it needs is not on this machine; the reason is on stderr.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }
absent() { say "absent: $*"; exit 77; }

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { printf '%s' "$port"; return; }
  done
}

start() {
  local dir port pid tries=0
  for tool in prometheus promtool curl; do
    command -v "$tool" > /dev/null || absent "$tool is not installed"
  done
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  if [ -e "$dir/in.om" ] && [ ! -e "$dir/data" ]; then
    # Two-hour blocks, which it makes otherwise, take long.
    promtool tsdb create-blocks-from openmetrics --max-block-duration=720h "$dir/in.om" "$dir/data" > "$dir/backfill.log" 2>&1 ||
      { cat "$dir/backfill.log" >&2; exit 1; }
  fi
  printf 'global: {scrape_interval: 1m}\n' > "$dir/prometheus.yml"
  port=$(free_port)
  setsid prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" --storage.tsdb.retention.time=90d \
    --web.listen-address="127.0.0.1:$port" > "$dir/out.log" 2>&1 < /dev/null &
  pid=$!
  printf '%s\n' "$pid" > "$dir/pid"
  printf 'URL=http://127.0.0.1:%s\nPID=%s\n' "$port" "$pid" > "$dir/env"
  until curl -sf --max-time 5 "http://127.0.0.1:$port/-/ready" > /dev/null 2>&1; do
    tries=$((tries + 1))
    kill -0 "$pid" 2> /dev/null || { say "the server ended while starting:"; tail -20 "$dir/out.log" >&2; exit 1; }
    [ $tries -lt 300 ] || { say "the server is not ready after $tries tries"; tail -20 "$dir/out.log" >&2; exit 1; }
    sleep 0.2
  done
}

stop() { # dir
  local pid
  pid=$(cat "$1/pid" 2> /dev/null) || return 0
  kill -TERM "$pid" 2> /dev/null || return 0
  while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
  rm -f "$1/pid"
}

case ${1:-} in
  start) start "$2" ;;
  stop) stop "$2" ;;
  *) sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
