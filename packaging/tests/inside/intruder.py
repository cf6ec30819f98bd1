#!/usr/bin/env python3
"""Tries what a process should not be able to do, and prints a line for each: a name, a tab, what came of it. It runs as a client's
program (`client PID`, with the process that started the shell), in the place of the network half (`half`) or of an opener (`opener`)."""

import ctypes
import glob
import json
import os
import socket
import stat
import subprocess
import sys

CONFIGURATION = ["/etc/stream-agent/config.toml", "/etc/stream-agent/config.d/*", "/etc/stream-agent/issuers.d/*"]
TARGETS = ["/etc/stream-agent/targets.d", "/etc/stream-agent/targets.d/*"]
SECRETS = ["/etc/stream-agent/*.nk", "/run/credentials/*/*", "/etc/credstore", "/etc/credstore/*", "/run/stream-relay/*"]
STATE = ["/var/lib/private", "/var/lib/stream-opener", "/var/lib/stream-opener/seen", "/run/stream-opener", "/run/stream-opener/config/*/*"]


def say(name, what):
    """Lists are sorted, so that tests can compare them."""
    if isinstance(what, (list, set)):
        what = " ".join(sorted(map(str, what))) or "none"
    print(f"{name}\t{what}", flush=True)


def works(attempt, *arguments):
    try:
        attempt(*arguments)
        return True
    except (OSError, subprocess.SubprocessError):
        return False


def tried(name, attempt, *arguments):
    try:
        attempt(*arguments)
        say(name, "yes")
    except subprocess.SubprocessError:
        say(name, "no")
    except OSError as error:
        say(name, f"no, {error.strerror}")


def read(path):
    if os.path.isdir(path):
        return os.listdir(path)
    # Reading must not block.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
        return file.read(4096)


def readable(patterns):
    # A pattern in a folder that cannot be listed matches nothing.
    return [path for pattern in patterns for path in glob.glob(pattern) if works(read, path)]


def command(*words):
    subprocess.run(words, check=True, timeout=5, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def connect(family, kind, address):
    with socket.socket(family, kind) as connection:
        connection.settimeout(2)
        connection.connect(address)


def bind(family, kind, address):
    with socket.socket(family, kind) as listener:
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()


def reaches(path):
    kinds = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
    return any(works(connect, socket.AF_UNIX, kind, path) for kind in kinds)


def below(folder, wanted):
    """What is below a folder, without going to other kinds of file systems."""
    for place, folders, files in os.walk(folder):
        if place == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "tests", "in")]
        for name in folders + files:
            path = os.path.join(place, name)
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                continue
            if wanted(mode):
                yield path


def is_process(pid):
    # A thread has a number, too, and takes signals.
    try:
        os.close(os.pidfd_open(pid))
        return True
    except OSError:
        return False


def processes():
    """The others, also those that /proc does not show."""
    return [pid for pid in range(1, os.getpid() + 200) if pid not in (os.getpid(), os.getppid()) and is_process(pid)]


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY), "w", encoding="ascii") as file:
        file.write(text)


def leave(folder):
    with open(os.path.join(folder, "left-by-an-intruder"), "x", encoding="ascii"):
        pass


def traced(pid):
    if ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(text, os.environ.get("NOTIFY_SOCKET", "/run/systemd/notify"))


def journal():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"MESSAGE=a forged record\nSYSLOG_IDENTIFIER=stream-agent\n", "/run/systemd/journal/socket")


def read_journal():
    said = subprocess.run(["journalctl", "-q", "-n", "1", "-o", "cat", "_UID=0"], timeout=5, check=True, capture_output=True)
    if not said.stdout:
        raise subprocess.SubprocessError


def anyone():
    """What every process can try."""
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").decode().splitlines() if ":\t" in line)
    say("groups", len([group for group in os.getgroups() if group != os.getgid()]))
    say("capabilities", status["CapEff"] + " " + status["CapBnd"] + " " + status["NoNewPrivs"] + " " + status["Seccomp"])
    say("configuration", readable(CONFIGURATION))
    say("targets", readable(TARGETS))
    say("secrets", readable(SECRETS))
    say("state", readable(STATE))
    say("log", readable(["/var/log/app.log"]))
    tried("journal-read", read_journal)
    tried("display", connect, socket.AF_UNIX, socket.SOCK_STREAM, "/run/display/vm.sock")
    say("sockets", [path for path in below("/run", stat.S_ISSOCK) if reaches(path)])
    own = os.ttyname(0) if os.isatty(0) else None
    terminals = [path for path in glob.glob("/dev/pts/[0-9]*") if path != own]
    say("terminals", len(terminals))
    say("terminals-read", [path for path in terminals if works(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)])
    say("terminals-written", [path for path in terminals if works(write, path, "words of an intruder\n")])
    usual = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts/ptmx"}
    nodes = [path for path in below("/dev", lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) if not path.startswith("/dev/pts/")]
    say("devices", [path for path in nodes if path not in usual and works(os.open, path, os.O_RDONLY | os.O_NONBLOCK)])
    say("signals", [pid for pid in processes() if works(os.kill, pid, 0)])
    tried("systemctl", command, "systemctl", "list-units")
    tried("stop", command, "systemctl", "--no-ask-password", "stop", "nats")
    tried("systemd-run", command, "systemd-run", "--no-ask-password", "true")
    tried("setuid", command, "/usr/local/bin/as-root", "/etc/shadow")
    tried("mount", command, "mount", "-t", "tmpfs", "none", "/mnt")
    for kind in ("user", "net", "pid"):
        tried(f"namespace-{kind}", command, "unshare", f"--{kind}", "true")
    tried("listen-tcp", bind, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 8099))
    tried("listen-udp", bind, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 8099))
    writable = [path for path in below("/", stat.S_ISDIR) if os.access(path, os.W_OK) and works(leave, path)]
    say("folders", writable)


def client(parent):
    """A program that a client types commands into."""
    # Terminals have the shell's control sequences in the same line.
    print("--")
    say("user", os.getuid())
    say("fds", [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")])
    say("environment", set(os.environ))
    others = [pid for pid in processes() if os.path.exists(f"/proc/{pid}") and pid != parent]
    say("processes", len(others))
    say("command-lines", len([pid for pid in others if works(read, f"/proc/{pid}/cmdline")]))
    say("memory", len([pid for pid in others if works(read, f"/proc/{pid}/environ") and works(open, f"/proc/{pid}/mem", "rb")]))
    say("parent-files", readable([f"/proc/{parent}/{name}" for name in ("environ", "fd", "maps", "mem", "root")]))
    tried("parent-traced", traced, parent)
    say("signals-only-parent", "yes" if [pid for pid in processes() if works(os.kill, pid, 0)] == [parent] else "no")
    say("left", [path for path in glob.glob("/tmp/*") + glob.glob("/dev/shm/*") + glob.glob("/var/tmp/*")])
    say("other-words", [path for path in ("/tmp/other", "/dev/shm/other") if works(read, path)])
    for name, port in (("nats", 4222), ("relay", 443)):
        tried(f"connect-{name}", connect, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port))
    tried("abstract", connect, socket.AF_UNIX, socket.SOCK_STREAM, "\0a-service")
    tried("journal-written", journal)
    # It does not say whether anybody listened.
    works(command, "logger", "a forged record")
    tried("notify", notify, b"STATUS=a forged status\nSTOPPING=1\nWATCHDOG=trigger")
    units = below("/sys/fs/cgroup", stat.S_ISDIR)
    say("units", "yes" if any("stream-agent.service" in path for path in units) else "no")
    tried("cgroup", write, "/sys/fs/cgroup/cgroup.procs", "0")
    anyone()


class Opener:
    """A connection to an opener, and what it is asked for."""

    def __init__(self):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(10)
        self.connection.connect("/run/stream-agent/open")

    def ask(self, message):
        self.connection.send(json.dumps(message).encode())
        return self.answer()

    def answer(self):
        """The next message, and the descriptor that came with it."""
        text, descriptors, _, _ = socket.recv_fds(self.connection, 65536, 1)
        return (json.loads(text) if text else "closed"), descriptors

    def begin(self, grant):
        """The target, or the code of the refusal."""
        reply, _ = self.ask({"begin": {"grant": grant}})
        if "permitted" in reply:
            return reply["permitted"]["target"]
        return reply["refused"]["code"] if "refused" in reply else json.dumps(reply)


def asked(message):
    return Opener().ask(message)[0]


def keeps(grant):
    """Opens the display and ignores that the session must end. What then still comes from it?"""
    session = Opener()
    session.begin(read(f"/run/grants/used-{grant}").decode())
    reply, descriptors = session.ask({"open": {"stream": 1, "window": None}})
    if not descriptors or not reply["opened"]["opened"]["is_target"]:
        return json.dumps(reply)
    stream = socket.socket(fileno=descriptors[0])
    stream.settimeout(10)
    stream.send(b"screen")
    if stream.recv(64) != b"screen":
        return "no display"
    say(f"opened-{grant}", "yes")
    return stream.recv(64).decode() or "nothing"


def half(phase):
    """In the place of the network half, with its user, its sandbox and its secrets."""
    if not works(Opener):
        say("opener", "none")
        return
    if phase == "removed":
        say("kept", keeps("removed"))
        return
    if phase == "again":
        for path in sorted(glob.glob("/run/grants/used-*")):
            say(f"{phase}-{os.path.basename(path)}", Opener().begin(read(path).decode()))
        return
    request = {"session": "0123456789abcdef", "target": "shell", "params": {}, "mode": None, "max_streams": 1, "max_seconds": None}
    say("without", asked({"begin": {"unproven": request}})["refused"]["code"])
    say("open-first", asked({"open": {"stream": 1, "window": None}}))
    table = {"kind": "exec", "argv": ["/bin/id"]}
    say("target-first", asked({"target": {"name": "x", "table": table, "params": {}, "mode": "rw"}}))
    for path in sorted(glob.glob("/run/grants/bad-*")):
        say(os.path.basename(path), Opener().begin(read(path).decode()))
    say("list", [" ".join([target["name"], *sorted(target)]) for target in asked("list")["targets"]])
    say("probe-display", json.dumps(asked({"probe": "display"})))
    say("probe-other", json.dumps(asked({"probe": "../../etc/passwd"})))

    log = read("/run/grants/used-log").decode()
    session = Opener()
    say("log-begun", session.begin(log))
    reply, descriptors = session.ask({"open": {"stream": 1, "window": None}})
    say("log-opened", json.dumps(reply))
    if descriptors:
        stream = socket.socket(fileno=descriptors[0])
        stream.settimeout(10)
        say("log-says", stream.recv(64).decode().splitlines()[0])
        say("log-is", os.readlink(f"/proc/self/fd/{stream.fileno()}").split(":")[0])
    say("log-second-stream", json.dumps(session.ask({"open": {"stream": 2, "window": None}})[0]))
    say("log-second-session", Opener().begin(log))
    say("log-then-target", session.ask({"target": {"name": "x", "table": table, "params": {}, "mode": "rw"}})[0])
    say("log-after-its-end", Opener().begin(log))

    # A session with a program: nothing of it can be signalled.
    session = Opener()
    say("program-begun", session.begin(read("/run/grants/used-shell").decode()))
    say("program-opened", "yes" if "opened" in session.ask({"open": {"stream": 1, "window": None}})[0] else "no")
    say("signals-with-session", [pid for pid in processes() if works(os.kill, pid, 0)])
    say("terminals-with-session", [path for path in glob.glob("/dev/pts/[0-9]*") if works(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)])
    say("kept", keeps("ended"))
    tried("tcp-target", connect, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 5901))


def main():
    who, *arguments = sys.argv[1:]
    if who == "client":
        client(int(arguments[0]))
    elif who == "half":
        if arguments == ["first"]:
            anyone()
        half(*arguments)
    else:
        anyone()


main()
