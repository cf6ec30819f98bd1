# Sourced by scripts that run as root in a booted system: sets up the chain as its owner would, and has functions for checks.
set -euo pipefail
set -E
# Failures are printed here, even if the output of the failed command is redirected.
exec 9>&2
trap 'echo "FAIL: line $LINENO of $0: $BASH_COMMAND" >&9; show; exit 1' ERR
cd "$(mktemp -d)"

# systemd-nspawn mounts a separate boot id, which units with a /proc of their own do not see.
if mountpoint -q /proc/sys/kernel/random/boot_id; then
  umount /proc/sys/kernel/random/boot_id
  systemctl restart systemd-journald
fi

step() { echo "-- $*"; }

# Prints what helps to understand a failure.
show() {
  trap - ERR
  set +e
  exec >&9 2>&9
  systemctl --no-pager --full -n 0 status 'stream-agent*' stream-relay stream-relay.socket
  journalctl --no-pager --no-hostname -n 60 -u 'stream-agent*' -u stream-relay -u stream-relay.socket
}

fail() {
  echo "FAIL: $*" >&9
  show
  exit 1
}

# Waits until a command succeeds, at most ten seconds (or $LIMIT).
await() {
  local until=$(($(date +%s) + ${LIMIT-10}))
  while [ "$(date +%s)" -le $until ]; do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.05
  done
  fail "never came true: $*"
}

# Fails unless the text contains this.
has() { # TEXT WORDS
  [[ $1 = *"$2"* ]] || fail "no \`$2\` in: $1"
}

refused() { # COMMAND...
  if "$@" >refused.out 2>&1; then fail "went through: $*: $(cat refused.out)"; fi
}

# One property of a unit.
of() { systemctl show -P "$2" "$1"; }

# Whether a unit has logged this since the boot.
said() { # UNIT WORDS
  # grep reads to the end: with pipefail, a writer without a reader would count as a failure.
  journalctl -q -o cat -u "$1" | grep -F "$2" >/dev/null
}

is() { # UNIT PROPERTY VALUE
  [ "$(of "$1" "$2")" = "$3" ]
}

# Whether it starts with the system, as systemctl prints it.
enablement() { systemctl is-enabled "$1" || true; }

listening() { ss -Hltnu | awk '{ print $1, $5 }' | sort; }

# apt without questions.
export DEBIAN_FRONTEND=noninteractive

# Adds the signed repository with the lines that `make repo` prints.
use_repository() {
  rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
  install -D -m 644 /dev/stdin /etc/apt/keyrings/stream.asc </repo/stream.asc
  echo 'deb [signed-by=/etc/apt/keyrings/stream.asc] file:///repo/apt stable main' >/etc/apt/sources.list.d/stream.list
  apt-get -qq -o APT::Update::Error-Mode=any update
}

# Installs from the repository, or from the files if there is none.
install_packages() {
  if [ -d /repo ]; then
    use_repository
    apt-get -qq -y --no-install-recommends install stream-agent stream-relay stream-relay-web </dev/null >install.out 2>&1 || fail "$(cat install.out)"
  else
    dpkg -i /packages/stream-{agent,relay,relay-web}_*.deb >install.out 2>&1 || fail "$(cat install.out)"
  fi
}

# An nkey in NATS' spelling: the bytes in hexadecimal, a checksum (CRC-16/XMODEM), all in base32.
nkey() {
  local hex=$1 crc=0 i bit
  for ((i = 0; i < ${#hex}; i += 2)); do
    crc=$((crc ^ 16#${hex:i:2} << 8))
    for bit in 1 2 3 4 5 6 7 8; do crc=$(((crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff)); done
  done
  printf '%b' "$(printf '%s%02x%02x' "$hex" $((crc & 255)) $((crc >> 8)) | sed 's/../\\x&/g')" | base32 -w 0 | tr -d =
}

# Creates a NATS user: writes the seed to a file for root only, as in the credential store, and prints the public key.
nats_user() { # FILE
  local tail32='tail -c 32' seed public
  openssl genpkey -algorithm ed25519 -outform DER -out key.der
  seed=$($tail32 key.der | od -An -v -tx1 | tr -d ' \n')
  public=$(openssl pkey -in key.der -inform DER -pubout -outform DER | $tail32 | od -An -v -tx1 | tr -d ' \n')
  # The prefixes of a seed, of a user's and of a user's public key.
  install -D -m 600 /dev/null "$1"
  nkey "9500$seed" >"$1"
  nkey "a0$public"
}

start_nats() {
  local agent platform
  mkdir -m 700 -p /etc/credstore
  agent=$(nats_user /etc/credstore/stream-agent.nats.nk)
  platform=$(nats_user /etc/credstore/stream-relay.nats.nk)
  cat >/run/nats.conf <<END
listen: 127.0.0.1:4222
authorization { users = [ { nkey: $agent }, { nkey: $platform } ] }
END
  systemd-run -q --unit=nats "$(command -v nats-server)" -c /run/nats.conf
  await bash -c '</dev/tcp/127.0.0.1/4222'
}

# A certificate authority of our own, in ca.key and ca.pem.
authority() {
  # With openssl.cnf, this certificate is that of an authority.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=A test' -keyout ca.key -out ca.pem 2>/dev/null
}

# Creates its certificate for a name.
certificate() { # NAME KEY CERTIFICATE
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2" -out tls.csr 2>/dev/null
  printf 'subjectAltName=DNS:%s\n' "$1" >tls.ext
  openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile tls.ext -out "$3" 2>/dev/null
}

# The steps of stream-relay(8), with a certificate of our own, and its secrets in the credential store.
configure_relay() {
  grep -qs relay.test /etc/hosts || echo '127.0.0.1 relay.test' >>/etc/hosts
  authority
  certificate relay.test tls.key tls.crt
  install -m 600 tls.key /etc/credstore/stream-relay.tls.key
  install -m 600 tls.crt /etc/credstore/stream-relay.tls.crt
  install -D -m 644 ca.pem /usr/local/share/stream-test-ca.pem

  # The name of the file is the name of the key, even for a credential.
  stream-relay keygen issuer --out . >/dev/null
  install -m 644 platform.pub /etc/stream-relay/issuers.d/
  install -m 600 platform.pem /etc/credstore/stream-relay.platform.pem
  (umask 077 && stream-relay --json keygen api-key --name me >key.json && jq -j .secret key.json >/run/api.key)
  cat >/etc/stream-relay/config.d/test.toml <<END
public_urls = ["wss://relay.test"]
[tls]
cert_file = "%d/tls.crt"
key_file = "%d/tls.key"
[limits]
drain_timeout = "${DRAIN-2s}"
[platform]
signing_key_file = "%d/platform.pem"
nats.servers = ["nats://127.0.0.1:4222"]
nats.nkey_seed_file = "%d/nats.nk"
[[platform.api_key]]
name = "me"
sha256 = "$(jq -r .sha256 key.json)"
END
  stream-relay check-config >check.out 2>&1 || fail "$(cat check.out)"
  stream-relay check-config --systemd-dropin | install -D -m 644 /dev/stdin /etc/systemd/system/stream-relay.service.d/needs.conf
}

# The steps of stream-agent(8) for identity and trust. The caller writes the targets.
configure_agent() {
  install -m 644 platform.pub /etc/stream-agent/issuers.d/
  install -m 644 /usr/local/share/stream-test-ca.pem /etc/stream-agent/ca.pem
  cat >/etc/stream-agent/config.d/test.toml <<END
host_id = "web1"
nats.servers = ["nats://127.0.0.1:4222"]
nats.nkey_seed_file = "%d/nats.nk"
relay.allow = ["wss://relay.test"]
relay.ca_file = "/etc/stream-agent/ca.pem"
[limits]
drain_timeout = "${DRAIN-2s}"
END
}

targets() { cat >/etc/stream-agent/targets.d/test.toml; }

give_what_targets_need() {
  stream-agent targets --systemd-dropin >units.out 2>&1 || fail "$(cat units.out)"
  systemctl daemon-reload
}

export STREAM_PLATFORM=https://relay.test STREAM_API_KEY_FILE=/run/api.key STREAM_CA_FILE=/usr/local/share/stream-test-ca.pem

# A stream to a target, on standard input and output.
open() { timeout "${LIMIT-20}" stream-relay open web1 "$@" --stdio; }

# Reads a target, in a process that can be ended.
looking() { exec timeout 20 stream-relay open web1 "$@" --stdio; }

# Whether a command's output has this line within five seconds. Then the command is ended.
comes() { # WANTED COMMAND...
  local wanted=$1 pid status=1
  shift
  "$@" >came.out 2>came.err </dev/null &
  pid=$!
  for _ in $(seq 100); do
    if grep -qa "$wanted" came.out; then status=0; break; fi
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
  done
  kill $pid 2>/dev/null || true
  wait $pid || true
  grep -qa "$wanted" came.out && status=0
  return $status
}

# Both services run, know each other, and carry a stream.
works() { [ "$(echo "${1-hello}" | timeout 5 stream-relay open web1 cat --stdio 2>works.err)" = "${1-hello}" ]; }
