# shellcheck shell=bash
# Sourced: a Redis server that keeps nothing, for scripts that need one.

redis_process=

# At DIRECTORY/redis.sock.
start_redis() { # DIRECTORY
  # Debian has redis-server by that name in a package that starts a service.
  (exec -a redis-server redis-check-rdb --port 0 --unixsocket "$1/redis.sock" --save '' \
    --dir "$1") >/dev/null &
  redis_process=$!
  until redis-cli -s "$1/redis.sock" ping >/dev/null 2>&1; do sleep 0.02; done
}

# Of none that runs it makes nothing. SIGNAL: TERM unless told.
stop_redis() { # [SIGNAL]
  [[ -n $redis_process ]] || return 0
  kill "-${1-TERM}" "$redis_process"
  wait "$redis_process" 2>/dev/null || true
  redis_process=
}
