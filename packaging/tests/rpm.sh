# Sourced by the tests of the RPM packages.

fail() {
  echo "FAIL $*" >&2
  exit 1
}

# Debian's glibc and shell are not RPM packages. Creates one that provides the requirements of the packages $2.., in the folder $1.
stand_in() {
  local folder=$1 top
  shift
  top=$(mktemp -d)
  {
    printf 'Name: host-libc\nVersion: 1\nRelease: 1\nSummary: what Debian has\nLicense: MIT\nAutoReq: no\n'
    rpm -qp --nosignature --requires "$@" | grep -vE '^(rpmlib|config|user|group)\(' | sort -u | sed 's/^/Provides: /'
    printf '%%description\nStands for this system.\n%%files\n'
  } >"$top/host-libc.spec"
  rpmbuild -bb --quiet --define "_topdir $top" "$top/host-libc.spec"
  cp "$top"/RPMS/*/*.rpm "$folder"
  rm -rf "$top"
}

# Creates the next release of the packages $2.. in the folder $1: the same spec (or $SPEC) and programs, and a new line in config.toml.
# $DIST is the suffix of its release. Without stream-relay-web among them, the spec is built without the page.
next_release() {
  local folder=$1 top package page=--without
  shift
  top=$(mktemp -d)
  for package in "$@"; do
    case $package in */stream-relay-web-*) page=--with ;; esac
    mkdir -p "$top/root" && rpm2cpio "$package" | (cd "$top/root" && cpio -idm --quiet)
  done
  # Their folders are named by version, and %license creates them.
  rm -rf "$top"/root/usr/share/licenses/*
  for file in "$top"/root/etc/*/config.toml; do echo '# next' >>"$file"; done
  mkdir -p "$top/BUILD"
  cp LICENSE-* "$top/BUILD"
  # Only the build of the files is left out.
  awk -v install="%install\ncp -a $top/root/. %{buildroot}\n" \
    '/^%debug_package/ { next } /^%prep$/ { print install; skip = 1 } /^%define user\(/ { skip = 0 } !skip' \
    "${SPEC-rpm/stream.spec}" >"$top/stream.spec"
  rpmbuild -bb --quiet --nodeps $page web --define "_topdir $top" --define "dist ${DIST-.next}" --define '__os_install_post %{nil}' "$top/stream.spec"
  cp "$top"/RPMS/*/*.rpm "$folder"
  rm -rf "$top"
}

# Prints a tree of Debian $1, with the packages $2, named $3. It is created once (half a minute).
debian() {
  local tree=.cache/packages/${3-$1}
  if [ ! -d "$tree" ]; then
    rm -rf "$tree.new"
    mkdir -p .cache/packages
    mmdebstrap --quiet --variant=minbase --include="systemd-sysv,dbus,ca-certificates,iproute2${2:+,$2}" "$1" "$tree.new" >&2
    mv "$tree.new" "$tree"
  fi
  echo "$tree"
}

# Boots the tree $1, runs run.sh of the folder $2 (/in in the system), and returns its exit code. Nothing is written to the tree.
boot() {
  local tree=$1 in=$2 out
  out=$(mktemp -d)
  cat >"$in/test.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c "exec bash /in/run.sh >/out/out.log 2>&1"
ExecStopPost=/bin/sh -c 'systemctl --no-block exit ${EXIT_STATUS:-9}'
TimeoutStartSec=120
END
  # A separate cgroup, because several systems would use each other's.
  local status=0 place
  if [ ! -d /run/systemd/system ]; then mkdir -p /sys/fs/cgroup/{systemd,unified}/stream-rpm-$$; fi
  (
    for place in /sys/fs/cgroup/{systemd,unified}/stream-rpm-$$; do if [ -d "$place" ]; then echo "$BASHPID" >"$place/cgroup.procs"; fi; done
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec timeout --kill-after=10 150 systemd-nspawn -q -D "$tree" --machine="stream-$$" --volatile=overlay \
      --boot --register=no --keep-unit --private-network --system-call-filter=bpf --bind-ro="$in:/in" --bind="$out:/out" \
      --bind-ro="$in/test.service:/etc/systemd/system/test.service" systemd.wants=test.service
  ) </dev/null >"$out/console" 2>&1 || status=$?
  for place in /sys/fs/cgroup/{systemd,unified}/stream-rpm-$$; do if [ -d "$place" ]; then find "$place" -depth -type d -exec rmdir {} +; fi; done
  cat "$out/out.log" 2>/dev/null || tail -n 20 "$out/console" >&2
  rm -rf "$out"
  return $status
}
