# What the scripts of test servers share; sourced, never run.

say() { printf '%s\n' "$*" >&2; }
# Exit 77: a test that needs it is skipped, with the reason.
absent() { say "absent: $*"; exit 77; }

# Where what is built or downloaded once is kept, outside the repository.
CACHE_ROOT=${WATCHFLOOR_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/watchfloor-test}

# Another script may choose before this one's server has bound its port: for ten minutes nobody chooses it again.
free_port() {
  local port chosen
  chosen=${TMPDIR:-/tmp}/watchfloor-test-ports-$(id -u)
  mkdir -p "$chosen" 2> /dev/null || true
  find "$chosen" -mindepth 1 -maxdepth 1 -mmin +10 -exec rmdir {} + 2> /dev/null || true
  while :; do
    port=$((20000 + RANDOM % 12000))
    mkdir "$chosen/$port" 2> /dev/null || [ ! -w "$chosen" ] || continue
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { printf '%s' "$port"; return; }
  done
}

# Its own session, so that a signal to the test's group does not reach it. Nothing of ours stays open in it.
begin() { # pidfile log command...
  local file=$1 log=$2
  shift 2
  setsid "$@" >> "$log" 2>&1 < /dev/null 8>&- &
  printf '%s\n' "$!" > "$file"
}

# A zombie, whose parent does not wait for it, is gone as well.
gone() { case $(ps -o stat= -p "$1" 2> /dev/null) in '' | Z*) return 0 ;; esac; return 1; }

# Ends it and waits; what does not go within SECONDS is killed.
end() { # pidfile signal [seconds]
  local pid tries=$((${3:-60} * 10))
  pid=$(cat "$1" 2> /dev/null) || return 0
  rm -f "$1"
  kill "-$2" "$pid" 2> /dev/null || return 0
  for _ in $(seq $tries); do
    gone "$pid" && return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2> /dev/null || true
}

# Ends with the last lines of a log where the process of a file is gone.
alive() { # name pidfile log
  ! gone "$(cat "$2" 2> /dev/null)" || { say "$1 ended:"; tail -20 "$3" >&2; exit 1; }
}

# Waits until a command works, while the process of a file lives; what its logs end with is told when it does not.
await() { # name pidfile seconds log command...
  local name=$1 file=$2 log=$4 until=$((SECONDS + $3))
  shift 4
  until "$@" > /dev/null 2>&1; do
    alive "$name" "$file" "$log"
    [ $SECONDS -lt $until ] || { say "$name is not ready:"; tail -20 "$log" >&2; exit 1; }
    sleep 0.2
  done
}
