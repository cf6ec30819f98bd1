# Sourced by the tests of the packages: boots a system for one script, or runs it there without a boot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${STREAM_PACKAGES_CACHE:-$PWD/.cache/packages}
debs=${DEBS-$PWD/target/packages/deb}
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

# The same in a virtual machine with Debian's kernel and cgroup v2, which enforces TasksMax= and MemoryMax=. It needs no KVM and boots in
# half a minute. MORE are options --bind-ro=FROM:TO. Everything is copied: what the script writes, even to /in, ends with the machine.
boot_guest() { # TREE SCRIPT [MORE...]
  local tree=$1 script=$2 more=$world/more status=0 bind from to
  shift 2
  echo "exec bash /tests/$script" >"$world/in/script"
  umask 022
  # Its own files lie over the tree. Its kernel needs no initrd and no modules for a disk of NVMe with ext4.
  mkdir -p "$more/etc/systemd/system/script.service.d" "$world/merged"
  cp packaging/tests/guest.conf "$more/etc/systemd/system/script.service.d/"
  for bind in "${binds[@]}" "$@"; do
    IFS=: read -r from to <<<"${bind#--bind*=}"
    mkdir -p "$(dirname "$more$to")"
    cp -aT "$from" "$more$to"
  done
  unshare --mount bash -euc 'mount -t overlay overlay -o "lowerdir=$1:$2" "$3"; mkfs.ext4 -q -m 0 -O ^has_journal -d "$3" "$4" 2G' \
    - "$more" "$cache/$tree" "$world/merged" "$world/disk" >"$world/console" 2>&1 || fail "$(cat "$world/console")"
  # The first serial line is the console, the second has what the script says, the third its status.
  timeout --kill-after=10 "${LIMIT-180}" qemu-system-x86_64 -accel tcg,thread=multi -machine q35 -cpu max -smp 2 -m 1024 \
    -nodefaults -no-user-config -no-reboot -display none -kernel "$cache/vmlinuz" \
    -drive "if=none,id=disk,format=raw,cache=unsafe,file=$world/disk" -device nvme,drive=disk,serial=1 \
    -append 'root=/dev/nvme0n1 rw console=ttyS0 quiet panic=-1 systemd.getty_auto=no systemd.machine_id='"$(tr -d - </proc/sys/kernel/random/uuid)" \
    -serial "file:$world/console" -serial "file:$world/in/said" -serial "file:$world/status" </dev/null >"$world/qemu" 2>&1 || status=$?
  [ $status != 0 ] || status=$(tr -d '\r' <"$world/status")
  if [ -s "$world/in/said" ]; then sed 's/\r$//; s/^/   /' "$world/in/said"; else cat "$world/qemu" "$world/console" >&2; fi
  [ "$status" = 0 ] || fail "$script in a guest with $tree ends with ${status:-no status}"
  rm -rf "$world/in/said" "$world/status" "$world/disk" "$more"
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
