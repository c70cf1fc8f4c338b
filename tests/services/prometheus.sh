#!/usr/bin/env bash
# A real Prometheus for tests.
#
#   prometheus.sh start DIR    backfills DIR/in.om (OpenMetrics) and takes DIR/prometheus.yml if they are there, starts a
#                              server with its data in DIR on a free loopback port, waits until it is ready, and writes
#                              DIR/env: URL, PID
#   prometheus.sh stop DIR     ends it by process id and waits
#
# Exit 77: something it needs is not on this machine; the reason is on stderr.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

start() {
  local dir port
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
  [ -e "$dir/prometheus.yml" ] || printf 'global: {scrape_interval: 1m}\n' > "$dir/prometheus.yml"
  port=$(free_port)
  begin "$dir/pid" "$dir/out.log" prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
    --storage.tsdb.retention.time=90d --web.listen-address="127.0.0.1:$port"
  printf 'URL=http://127.0.0.1:%s\nPID=%s\n' "$port" "$(cat "$dir/pid")" > "$dir/env"
  await "the server" "$dir/pid" 120 "$dir/out.log" curl -sf --max-time 5 "http://127.0.0.1:$port/-/ready"
}

case ${1:-} in
  start) start "$2" ;;
  stop) end "$2/pid" TERM ;;
  *) sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
