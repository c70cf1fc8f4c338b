#!/usr/bin/env bash
# A real PostgreSQL with pgBackRest, for tests.
#
#   postgres.sh start DIR        a cluster with a database `soc` and its write-ahead log archived into DIR/repo by
#                                pgBackRest, stanza `soc`, on a socket in DIR
#   postgres.sh backup DIR TYPE  pgbackrest backup (full, diff, incr)
#   postgres.sh info DIR         pgbackrest info --output=json, on stdout; its exit status
#   postgres.sh dump DIR FILE FORMAT  pg_dump of `soc` (plain, custom)
#   postgres.sh stop DIR
#
# PostgreSQL refuses to run as root: then everything runs as the user `postgres`, who must be able to reach DIR.
# Exit 77: something it needs is not on this machine; the reason is on stderr.
set -euo pipefail
verb=$1 dir=$2

absent() { printf 'absent: %s\n' "$*" >&2; exit 77; }

bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2> /dev/null | sort -V | tail -1)
[ -n "$bin" ] && [ -x "$bin/initdb" ] || absent "PostgreSQL's server is not installed"
command -v pgbackrest > /dev/null || absent "pgbackrest is not installed"
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  id postgres > /dev/null 2>&1 || absent "root, and no user postgres"
  as() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$dir" "$@"; }
fi
backrest() { as pgbackrest --config="$dir/pgbackrest.conf" --stanza=soc "$@"; }

case $verb in
  start)
    mkdir -p "$dir"/{repo,log,lock,spool}
    cat > "$dir/pgbackrest.conf" <<CONF
[global]
repo1-path=$dir/repo
repo1-retention-full=9
log-path=$dir/log
lock-path=$dir/lock
spool-path=$dir/spool
log-level-console=error
log-level-stderr=error
start-fast=y
compress-level=1
[soc]
pg1-path=$dir/data
pg1-socket-path=$dir
CONF
    [ "$(id -u)" != 0 ] || chown -R postgres "$dir"
    as "$bin/initdb" -D "$dir/data" -A trust -U postgres > /dev/null
    cat >> "$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
archive_mode = on
archive_command = 'pgbackrest --config=$dir/pgbackrest.conf --stanza=soc archive-push %p'
wal_level = replica
shared_buffers = 16MB
fsync = off
CONF
    printf 'pg1-user=postgres\n' >> "$dir/pgbackrest.conf"
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/log/server.log" -w start > /dev/null 2>&1 < /dev/null
    backrest stanza-create
    as psql -qX -h "$dir" -U postgres -c 'create database soc' > /dev/null
    as psql -qX -h "$dir" -U postgres -d soc -c 'create table t as select n, md5(n::text) from generate_series(1, 5000) n' > /dev/null
    ;;
  backup) backrest --type="$3" backup ;;
  info) as pgbackrest --config="$dir/pgbackrest.conf" info --output=json ;;
  dump) as pg_dump -h "$dir" -U postgres -C -F "$4" -f "$3" soc ;;
  stop) as "$bin/pg_ctl" -D "$dir/data" -m immediate stop > /dev/null 2>&1 || true ;;
  *) sed -n '2,13p' "$0" >&2; exit 2 ;;
esac
