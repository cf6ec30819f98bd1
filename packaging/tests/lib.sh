# Sourced by the tests of the packages: boots a system for one script, or runs it there without a boot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${STREAM_PACKAGES_CACHE:-$PWD/.cache/packages}
debs=$PWD/target/packages/deb
world=$(mktemp -d)
chmod 755 "$world"
trap 'rm -rf "$world"' EXIT
# The folder that the scripts have as /in.
mkdir "$world/in"

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# Boots a system from TREE, which only runs packaging/tests/inside/SCRIPT. MORE are options of systemd-nspawn.
# Nothing is written to the tree. The script finds the packages in /packages and the folder $world/in as /in.
boot() { # TREE SCRIPT [MORE...]
  local tree=$1 script=$2 name=stream-$1-$BASHPID status=0 cgroup place=()
  shift 2
  echo "exec bash /tests/$script" >"$world/in/script"
  # Without systemd on this system, each booted system needs a cgroup of its own. Otherwise several would use each other's.
  if [ ! -d /run/systemd/system ]; then
    place=(--keep-unit)
    for cgroup in /sys/fs/cgroup/{systemd,unified}; do
      mkdir -p "$cgroup/$name"
    done
  fi
  (
    for cgroup in /sys/fs/cgroup/{systemd,unified}/"$name"; do
      if [ -d "$cgroup" ]; then echo "$BASHPID" >"$cgroup/cgroup.procs"; fi
    done
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec timeout --kill-after=10 "${LIMIT-180}" systemd-nspawn -q -D "$cache/$tree" --volatile=overlay \
      --boot --register=no "${place[@]}" --private-network --capability=all --system-call-filter=bpf --system-call-filter=@mount \
      --machine="$name" --uuid="$(cat /proc/sys/kernel/random/uuid)" "${binds[@]}" "$@"
  ) >"$world/console" 2>&1 </dev/null || status=$?
  for cgroup in /sys/fs/cgroup/{systemd,unified}/"$name"; do
    if [ -d "$cgroup" ]; then find "$cgroup" -depth -type d -exec rmdir {} +; fi
  done
  if [ -s "$world/in/said" ]; then sed 's/^/   /' "$world/in/said"; else cat "$world/console" >&2; fi
  [ $status = 0 ] || fail "$script in $tree ends with $status"
  rm -f "$world/in/said"
}

# The same without a boot: only with the files and a separate network.
enter() { # TREE SCRIPT [MORE...]
  local tree=$1 script=$2
  shift 2
  timeout --kill-after=10 "${LIMIT-180}" systemd-nspawn -q -D "$cache/$tree" --volatile=overlay --register=no --keep-unit --as-pid2 \
    --private-network --machine="stream-$tree-$BASHPID" --pipe "${binds[@]}" "$@" bash "/tests/$script" </dev/null |& sed 's/^/   /' ||
    fail "$script in $tree"
}

binds=(
  --bind-ro="$PWD/packaging/tests/inside:/tests"
  --bind-ro="$debs:/packages"
  --bind-ro="$cache/nats-server:/usr/local/bin/nats-server"
  --bind="$world/in:/in"
)

# The suites whose systemd is tested.
suites=(bookworm trixie)
