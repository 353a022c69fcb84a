// Replicas as snapshots, on a btrfs of their own that is mounted for one script only.
#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

/// Runs a script in an empty btrfs, with a cache in it; nullopt: none can be mounted here.
std::optional<Outcome> in_btrfs(const Sandbox& sandbox, const std::string& script) {
  auto program = sandbox.shell(
      "truncate --size 128M image && mkfs.btrfs -q image >/dev/null && mkdir -p btrfs && "
      "mount -o loop image btrfs || { echo no btrfs >&2; exit 99; }\n"
      "export CACHECTL_ROOT=$PWD/btrfs/cache\n" +
      script);
  // In a namespace of its own the mount goes with the script, however that ends.
  program.argv.insert(program.argv.begin(), {"unshare", "--mount", "--propagation", "private"});
  auto outcome = run(program);
  if (outcome.status == 99 || outcome.errors.find("unshare") != std::string::npos) {
    WARN("no btrfs can be mounted here: " + outcome.errors);
    return std::nullopt;
  }
  return outcome;
}

/// Fills the tree k by a source that makes it a subvolume.
constexpr const char* kFill =
    "$cachectl run -q --key k --ttl 1h --tree -- sh -c 'btrfs -q subvolume create "
    "$CACHECTL_OUTPUT && cd $CACHECTL_OUTPUT && mkdir d && echo 1 > x && echo 2 > d/y && "
    "ln x hard && ln -s x soft' >/dev/null || exit\n";

}  // namespace

TEST_CASE("pool: of a subvolume a replica is a snapshot, and private") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nsize = 0\nmax = 2\n");
  const auto outcome = in_btrfs(sandbox, std::string(kFill) + R"(
dir=$($cachectl pool checkout k --owner $$) || exit
$cachectl pool list k | grep -o 'leased  *[a-z]*'
stat -c %i "$dir"
cat "$dir/x" "$dir/d/y"; readlink "$dir/soft"; stat -c %h "$dir/x"
echo 3 > "$dir/x"; rm "$dir/d/y"
cat "$($cachectl path k)/x"
$cachectl pool checkin "$dir"
dir=$($cachectl pool checkout k --owner $$); cat "$dir/x" "$dir/d/y"
$cachectl pool checkin "$dir"; $cachectl pool drain k; $cachectl verify k
$cachectl delete k; $cachectl gc -q >/dev/null
)");
  if (!outcome) return;
  CHECK(outcome->errors == "");
  CHECK(outcome->output == "leased  snapshot\n256\n1\n2\nx\n2\n1\n1\n2\n");
}

TEST_CASE("pool: what is no subvolume, or several, is copied file by file") {
  const Sandbox sandbox;
  const auto only = GENERATE(false, true);
  configure(sandbox, "[entries.k.pool]\nsize = 0\nmax = 2\n" +
                         std::string(only ? "copy = \"snapshot\"\n" : ""));
  const auto outcome = in_btrfs(sandbox, R"(
$cachectl run -q --key k --ttl 1h --tree -- sh -c 'btrfs -q subvolume create $CACHECTL_OUTPUT &&
  btrfs -q subvolume create $CACHECTL_OUTPUT/inner && echo 1 > $CACHECTL_OUTPUT/inner/x' >/dev/null
dir=$($cachectl pool checkout k --owner $$) || exit 0
$cachectl pool list k | grep -o 'leased  *[a-z]*'
cat "$dir/inner/x"
)");
  if (!outcome) return;
  if (only) {
    CHECK(outcome->output == "");
    CHECK_THAT(outcome->errors, Catch::Contains("is no subvolume of btrfs, or more than one"));
  } else {
    CHECK(outcome->errors == "");
    CHECK(outcome->output == "leased  reflink\n1\n");
  }
}

TEST_CASE("pool: a source makes the next generation from a snapshot of the previous one") {
  const Sandbox sandbox;
  const auto outcome = in_btrfs(sandbox, std::string(kFill) + R"(
old=$($cachectl path k)
$cachectl run -q --key k --force --tree -- sh -c 'btrfs -q subvolume snapshot $CACHECTL_PREVIOUS \
  $CACHECTL_OUTPUT && echo 4 > $CACHECTL_OUTPUT/x' >/dev/null
cat "$old/x" "$($cachectl path k)/x" "$($cachectl path k)/d/y"
$cachectl verify k
)");
  if (!outcome) return;
  CHECK(outcome->errors == "");
  CHECK(outcome->output == "1\n4\n2\n");
}

TEST_CASE("pool: a subvolume that was set read-only can be used and removed") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.k.pool]\nsize = 0\nmax = 2\n[trees]\nretain = 1\nretain-for = \"0s\"\n");
  const auto outcome = in_btrfs(sandbox, R"(
$cachectl run -q --key k --ttl 1h --tree -- sh -c 'btrfs -q subvolume create $CACHECTL_OUTPUT &&
  mkdir $CACHECTL_OUTPUT/d && echo 1 > $CACHECTL_OUTPUT/d/x &&
  btrfs property set $CACHECTL_OUTPUT ro true' >/dev/null || exit
dir=$($cachectl pool checkout k --owner $$) && echo 2 > "$dir/d/x" || exit
btrfs property set "$dir" ro true; $cachectl pool checkin "$dir"
dir=$($cachectl pool checkout k --owner $$) && cat "$dir/d/x" && echo 3 > "$dir/d/x" || exit
btrfs property set "$dir" ro true; $cachectl pool checkin "$dir"
$cachectl pool drain k; $cachectl delete k && $cachectl gc >/dev/null; echo $?
find btrfs/cache/trees/* btrfs/cache/tmp -mindepth 1
)");
  if (!outcome) return;
  CHECK(outcome->errors == "");
  CHECK(outcome->output == "1\n0\n");
}

TEST_CASE("pool: a subvolume that an owner made in a replica is removed by the next checkout") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nsize = 0\nmax = 2\n");
  const auto outcome = in_btrfs(sandbox, std::string(kFill) + R"(
dir=$($cachectl pool checkout k --owner $$) || exit
btrfs -q subvolume create "$dir/d/inner"; echo 1 > "$dir/d/inner/z"; $cachectl pool checkin "$dir"
dir=$($cachectl pool checkout k --owner $$) && ls "$dir/d"
)");
  if (!outcome) return;
  CHECK(outcome->errors == "");
  CHECK(outcome->output == "y\n");
}

TEST_CASE("pool: a replica that is a subvolume is published as one") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nsize = 0\nmax = 2\n");
  const auto outcome = in_btrfs(sandbox, std::string(kFill) + R"sh(
dir=$($cachectl pool checkout k --owner $$) && echo 3 > "$dir/x" || exit
$cachectl pool checkin --publish "$dir"
stat -c %i "$($cachectl path k)"; cat "$($cachectl path k)/x"; $cachectl verify k
dir=$($cachectl pool checkout k --owner $$); $cachectl pool list k | grep -o 'leased  *[a-z]*'
)sh");
  if (!outcome) return;
  CHECK(outcome->errors == "");
  CHECK(outcome->output == "256\n3\nleased  snapshot\n");
}

}  // namespace cachectl::test
