"""Local programs of `stream-relay open --listen`, where each connection is a session of its own.

cost.py opens SOCKET COUNT PAUSE  opens one after the other, says a line, and prints the milliseconds until the first byte
cost.py reads SOCKET COUNT PAUSE  the same, for a target that speaks first
cost.py crowd SOCKET COUNT [AT_ONCE]  opens COUNT, says a line in each, prints `open`, and closes all at the end of its input
cost.py table FILE...         percentiles of files with milliseconds, named TARGET.AGENT
"""
import collections
import concurrent.futures
import pathlib
import socket
import statistics
import sys
import time


def opened(path, says):
    """A connection whose target has sent its first byte, and how many milliseconds that took."""
    begun = time.perf_counter()
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(20)
    stream.connect(path)
    stream.sendall(says)
    if not stream.recv(1):
        raise ConnectionError("closed without a byte")
    return stream, (time.perf_counter() - begun) * 1000


def one_by_one(path, count, pause, says):
    for _ in range(count):
        stream, took = opened(path, says)
        stream.close()
        print(f"{took:.2f}", flush=True)
        # What ends must not slow down what begins.
        time.sleep(pause)


def crowd(path, count, at_once):
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        streams = [stream for stream, _ in pool.map(lambda _: opened(path, b"?"), range(count))]
    for number, stream in enumerate(streams):
        line = f"line {number}\n".encode()
        stream.sendall(line)
        got = b""
        while len(got) < len(line):
            got += stream.recv(100) or sys.exit(f"stream {number} has ended")
        if got != line:
            sys.exit(f"stream {number} says {got!r}")
    print(f"open {time.perf_counter() - begun:.1f}", flush=True)
    sys.stdin.read()


def table(files):
    times = collections.defaultdict(dict)
    for file in map(pathlib.Path, files):
        target, agent = file.name.split(".")
        times[target][agent] = [float(line) for line in file.read_text().split()]
    row = "{:8} {:>6}" + " {:>13}" * 7
    names = ["unsplit", "split", "bare"]
    print(row.format("target", "opens", *(f"{name} {p}" for name in names for p in ("p50", "p90")), "split later"))
    for target, by in times.items():
        middle = {agent: statistics.median(all) for agent, all in by.items()}
        most = {agent: statistics.quantiles(all, n=10)[-1] for agent, all in by.items()}
        numbers = [number for name in names for number in (middle[name], most[name])]
        numbers.append(middle["split"] - middle["unsplit"])
        print(row.format(target, len(by["unsplit"]), *(f"{number:.1f} ms" for number in numbers)))


what, *rest = sys.argv[1:]
if what == "table":
    table(rest)
elif what == "crowd":
    path, count, *at_once = rest
    crowd(path, int(count), int(at_once[0]) if at_once else 8)
else:
    path, count, pause = rest
    one_by_one(path, int(count), float(pause), b"?" if what == "opens" else b"")
