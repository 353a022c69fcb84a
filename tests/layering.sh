#!/usr/bin/env bash
# Includes point down only: lock <- src (base <- config, telemetry <- tree <- store <- remote <-
# refresh, lease, pool, daemon, memory <- cache <- status, doctor, library) <- cli.
#
# usage: tests/layering.sh [ROOT]        checks the tree; default: the one this script is in
#        tests/layering.sh --self-test   checks that broken trees are found out
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Prints one line for each violation below the directory $1; exit status 1 if there is any.
check() {
  local root=$1 sources
  sources=$(cd "$root" && find lock src cli tests scripts docs -type f \( -name '*.cpp' -o -name '*.hpp' \) \
    2>/dev/null | sort) || true
  if [[ -z $sources ]]; then
    echo "layering: $root: no sources found"
    return 1
  fi
  # shellcheck disable=SC2016
  (cd "$root" && tr '\n' '\0' <<<"$sources" | xargs -0 awk '
    function complain(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; bad = 1 }
    # The layer of a file or an include; 0: it has none.
    function layer(path) {
      if (path ~ /^lock\//) return 1
      if (path ~ /^src\/(base64|key|clock|checksum|choices)\.[ch]pp$/) return 2
      if (path ~ /^src\/(config|telemetry)\//) return 3
      if (path ~ /^src\/tree\//) return 4
      if (path ~ /^src\/store\//) return 5
      if (path ~ /^src\/remote\//) return 6  # records elsewhere: knows them, and not who wants them
      if (path ~ /^src\/(refresh|lease|pool|daemon|memory)\//) return 7
      if (path ~ /^src\/cache(_[a-z]+)?\.[ch]pp$/) return 8
      if (path ~ /^src\/(status|doctor|library)\//) return 9
      if (path ~ /^cli\//) return 10
      if (path ~ /^(tests|scripts|docs)\//) return 11
      return 0
    }
    FNR == 1 {
      own = layer(FILENAME)
      if (own == 0) complain("belongs to no layer (give it one in tests/layering.sh)")
    }
    /using[ \t]+namespace/ { complain("mentions using " "namespace (name what is needed)") }
    /^[ \t]*#[ \t]*include/ {
      if (!match($0, /["<][^">]*[">]/)) {
        complain("an include that cannot be read: " $0)
        next
      }
      quote = substr($0, RSTART, 1)
      target = substr($0, RSTART + 1, RLENGTH - 2)
      if (target ~ /(^|\/)\.\.?\//) { complain("includes " target " by a relative path"); next }
      if (quote == "<" && target ~ /^(lock|src|cli|tests|scripts)\//) {
        complain("includes our " target " in angle brackets"); next
      }
      if (target ~ /^CLI\// && own < 10) { complain("includes " target ": CLI11 belongs to cli/"); next }
      if (quote == "<") next
      their = layer(target)
      if (their == 0) complain("includes \"" target "\", which is in no layer (lock/, src/, cli/)")
      else if (their > own && own != 0) complain("includes " target " of a higher layer")
    }
    END { exit bad }
  ')
}

# Writes $2 to a file $1 of an otherwise sound tree, and expects check to find the text $3 in it.
expect_violation() {
  local tree output
  tree=$(mktemp -d)
  mkdir -p "$tree"/{lock,cli}
  mkdir -p "$tree"/src/{config,telemetry,tree,store,remote,refresh,lease,daemon,memory}
  echo '#include <vector>' >"$tree/lock/fd.hpp"
  echo '#include "lock/fd.hpp"' >"$tree/src/key.hpp"
  echo '#include "src/key.hpp"' >"$tree/src/config/table.hpp"
  echo '#include "src/config/table.hpp"' >"$tree/src/tree/scan.hpp"
  echo '#include "src/tree/scan.hpp"' >"$tree/src/store/record.hpp"
  echo '#include "src/store/record.hpp"' >"$tree/src/refresh/run.hpp"
  echo '#include "src/refresh/run.hpp"' >"$tree/src/cache.hpp"
  printf '%s\n' '#include <CLI/CLI.hpp>' '#include "src/cache.hpp"' >"$tree/cli/main.cpp"
  if ! output=$(check "$tree"); then
    printf 'layering: a sound tree was rejected:\n%s\n' "$output"
    rm -rf "$tree"
    return 1
  fi
  printf '%s\n' "$2" >"$tree/$1"
  if output=$(check "$tree") || [[ $output != *"$1:1: "*"$3"* ]]; then
    printf 'layering: not found out: %s in %s\n%s\n' "$2" "$1" "$output"
    rm -rf "$tree"
    return 1
  fi
  rm -rf "$tree"
}

self_test() {
  local failed=0
  expect_violation lock/x.hpp '#include "src/key.hpp"' 'higher layer' || failed=1
  expect_violation src/key.cpp '#include "src/config/table.hpp"' 'higher layer' || failed=1
  expect_violation src/config/x.cpp '#include "src/store/record.hpp"' 'higher layer' || failed=1
  expect_violation src/telemetry/x.cpp '#include "src/store/record.hpp"' 'higher layer' || failed=1
  expect_violation src/tree/x.cpp '#include "src/store/record.hpp"' 'higher layer' || failed=1
  expect_violation src/store/x.cpp '#include "src/refresh/run.hpp"' 'higher layer' || failed=1
  expect_violation src/remote/x.cpp '#include "src/refresh/run.hpp"' 'higher layer' || failed=1
  expect_violation src/store/x.cpp '#include "src/remote/tier.hpp"' 'higher layer' || failed=1
  expect_violation src/refresh/x.cpp '#  include "src/cache.hpp"' 'higher layer' || failed=1
  expect_violation src/lease/x.cpp '#include "src/cache.hpp"' 'higher layer' || failed=1
  expect_violation src/daemon/x.cpp '#include "src/cache.hpp"' 'higher layer' || failed=1
  expect_violation src/cache.cpp '#include "src/doctor/doctor.hpp"' 'higher layer' || failed=1
  expect_violation src/memory/x.cpp '#include "src/cache.hpp"' 'higher layer' || failed=1
  expect_violation src/cache.cpp '#include "src/library/layered_cache.hpp"' 'higher layer' || failed=1
  expect_violation src/cache.cpp '#include "cli/main.hpp"' 'higher layer' || failed=1
  expect_violation src/cache.cpp '#include <CLI/CLI.hpp>' 'CLI11' || failed=1
  expect_violation lock/x.cpp '#include <src/key.hpp>' 'angle brackets' || failed=1
  expect_violation src/store/x.cpp '#include "record.hpp"' 'no layer' || failed=1
  expect_violation src/store/x.cpp '#include "../refresh/run.hpp"' 'relative path' || failed=1
  expect_violation src/utils.cpp '' 'no layer' || failed=1
  expect_violation cli/x.cpp "using"" namespace std;" 'name what is needed' || failed=1
  return $failed
}

case ${1-} in
  --self-test) self_test && echo "layering: each broken tree is found out" ;;
  -*) echo "usage: tests/layering.sh [ROOT] | --self-test" >&2 && exit 2 ;;
  *) check "${1:-$here}" && echo "layering: includes point down only" ;;
esac
