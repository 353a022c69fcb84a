# shellcheck shell=bash
# Sourced by `scripts/quickstart --fleet`: three hosts (each a home, a configuration and a cache
# of its own) that share values through a Redis server of ours, on a socket in $work.
#
# From the caller: cachectl, work, tree, now_ms, seconds, times, description.

fail() {
  echo "quickstart: FAILED: $*" >&2
  exit 1
}

# Ctrl-C does not reach what a script runs in the background, so that is ended here: each has a
# process group of its own. On SIGTERM cachectl ends its source, too.
server=
end_all() {
  trap '' INT TERM HUP
  local group tries=0
  [[ -z $server ]] || kill_server
  for group in $(jobs -p); do
    kill -TERM -- "-$group" 2>/dev/null || continue
    while kill -0 -- "-$group" 2>/dev/null && ((++tries < 200)); do
      wait "$group" 2>/dev/null || true
      sleep 0.02
    done
  done
  rm -rf "$work"
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs what follows in the background.
in_group() {
  set -m
  "$@" </dev/null &
  set +m
}

socket=$work/redis.sock
# All programs of Redis are one, which goes by its name. Debian has redis-server in a package that
# starts a service, and redis-check-rdb in one that does not.
ln -s "$(command -v redis-check-rdb || command -v redis-server)" "$work/redis-server"
start_server() {
  in_group "$work/redis-server" --port 0 --unixsocket "$socket" --save '' --dir "$work" \
    --logfile "$work/redis.log"
  server=$!
  local tries=0
  until redis-cli -s "$socket" ping >/dev/null 2>&1; do
    if ! kill -0 "$server" 2>/dev/null || ((++tries > 200)); then
      cat "$work/redis.log" >&2 || true
      fail "the Redis server does not start (its log is above)"
    fi
    sleep 0.05
  done
}
kill_server() {
  kill -KILL "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}

# Nothing of the user's takes part.
unset "${!CACHECTL_@}" "${!XDG_@}"
hosts=(build1 build2 build3)
each=5
on() { # HOST ARGUMENT...
  local home=$work/$1
  shift
  HOME=$home CACHECTL_ROOT=$home/cache CACHECTL_CONFIG=$home/cachectl.toml "$cachectl" "$@"
}

# Slow sources, no two runs of which make the same; each run is noted with its host.
cat >"$work/prices" <<EOF
#!/bin/sh
echo "\${HOME##*/}" >>'$work/runs'
sleep 1
date +%s.%N
seq 200000
EOF
cat >"$work/download" <<EOF
#!/bin/sh
set -e
echo "\${HOME##*/}" >>'$work/runs'
sleep 1
cp -RL '$tree' "\$CACHECTL_OUTPUT"
date +%s.%N >"\$CACHECTL_OUTPUT/made"
EOF
chmod +x "$work/prices" "$work/download"
for host in "${hosts[@]}"; do
  mkdir "$work/$host"
  cat >"$work/$host/cachectl.toml" <<EOF
[redis]
url = "unix:$socket"

[entries."prices-*"]
source = ["$work/prices"]
ttl = "1h"

[entries.prices-by-one]
source = ["$work/prices"]
ttl = "1h"
coordination = "fleet"

[entries.headers]
kind = "tree"
source = ["$work/download"]
ttl = "1h"
coordination = "fleet"
EOF
done
runs() { wc -l <"$work/runs"; }
runs_on() { grep -c "^$1\$" "$work/runs" || true; }

consumer() { # HOST KEY NUMBER
  on "$1" get "$2" 2>>"$work/errors" | cksum >"$work/sum.$1.$3" || echo "$1" >>"$work/failures"
}
# $each consumers on each host ask for a key at once; prints how often the source ran.
consume() { # KEY COORDINATION
  local start elapsed host i consumers=()
  rm -f "$work"/sum.*
  : >"$work/runs"
  start=$(now_ms)
  for host in "${hosts[@]}"; do
    for ((i = 0; i < each; i++)); do
      in_group consumer "$host" "$1" "$i"
      consumers+=($!)
    done
  done
  wait "${consumers[@]}"
  elapsed=$(($(now_ms) - start))
  if [[ -s $work/failures || -s $work/errors ]]; then
    cat "$work/errors" >&2
    fail "consumers of $1 failed or were warned"
  fi
  printf '  %-24s the source ran %-9s %9s   (on %s)\n' "coordination = \"$2\":" \
    "$(times "$(runs)")," "$(seconds $elapsed)" "$(sort -u "$work/runs" | xargs)"
}

start_server
echo "3. One key: $each consumers on each of ${#hosts[@]} hosts ask at once for what takes 1 s to make"
echo "     ($("$work/redis-server" --version | cut -d ' ' -f 1-3))"
echo
consume prices-by-each local
for host in "${hosts[@]}"; do
  (($(runs_on "$host") <= 1)) || fail "the source ran more than once on $host"
done
consume prices-by-one fleet
(($(runs) == 1)) || fail "the source ran $(runs) times (1 expected)"
(($(sort -u "$work"/sum.* | wc -l) == 1)) || fail "not all have the same output"
echo
echo "All outputs of the second have the same checksum."

echo
echo "4. A directory: one host makes it (from $tree, in 1 s), the others take it"
echo
: >"$work/runs"
made=
for host in "${hosts[@]}"; do
  start=$(now_ms)
  value=$(on "$host" path headers)
  elapsed=$(($(now_ms) - start))
  found=$(description "$value")
  made=${made:-$found}
  printf '  %s: the source ran %-9s %9s   (%d files)\n' "$host" \
    "$(times "$(runs_on "$host")")," "$(seconds $elapsed)" "$(find "$value" -type f | wc -l)"
  [[ $found == "$made" ]] || fail "the directory of $host is another one"
  on "$host" verify --quiet headers >/dev/null || fail "the directory of $host is damaged"
done
(($(runs) == 1)) || fail "the source ran $(runs) times (1 expected)"
echo
echo "All three have the same names, modes, times and contents."

# Shows a command on a host and what comes of it (the first line of it); sets status, output and
# told, the number of messages.
show() { # HOST ARGUMENT...
  local start elapsed
  start=$(now_ms) status=0
  output=$(on "$@" 2>"$work/errors") || status=$?
  elapsed=$(($(now_ms) - start))
  told=$(wc -l <"$work/errors")
  printf '  %s$ cachectl %-34s (status %d, %s)\n' "$1" "${*:2}" "$status" "$(seconds $elapsed)"
  { head -n 1 <<<"$output" && cat "$work/errors"; } | sed "/^\$/d; s|$work|WORK|g; s/^/    /"
}

echo
echo "5. The server is killed: a hit, a job, a look at it"
echo
before=$(on build2 get prices-by-one)
kill_server
show build2 get prices-by-one
((status == 0 && told == 0)) && [[ $output == "$before" ]] || fail "a hit needs the server"
show build3 run -- echo "made without it"
((status == 0 && told == 1)) && [[ $output == "made without it" ]] ||
  fail "a job fails without the server, or is not told of that in one line"
show build1 redis ping
((status == 125 && told == 1)) || fail "redis ping does not tell that the server is gone"

echo
echo "6. It is back, and empty"
echo
start_server
show build1 redis ping
((status == 0 && told == 0)) || fail "redis ping does not find the server"
show build1 set greeting hello
((status == 0 && told == 0)) || fail "set has trouble with the server"
show build3 get greeting
((status == 0 && told == 0)) && [[ $output == hello ]] || fail "build3 does not get what build1 set"
show build3 get prices-by-one
((status == 0 && told == 0)) && [[ $output == "$before" ]] || fail "build3 has lost a value"

cat <<EOF

Try next, with a server of your own:

  export CACHECTL_REDIS_URL=redis://cache.internal CACHECTL_REDIS_PASSWORD=...
  $PWD/$cachectl redis ping ; $PWD/$cachectl doctor
  docs/fleet.md    what is shared, what is promised, how to run the server
EOF
