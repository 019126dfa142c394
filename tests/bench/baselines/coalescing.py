"""A bare producer: at each flush point it makes the events of that flush, joins them, sends them to all.

`coalescing.py SOCKET SUBSCRIBERS FLUSHES` where FLUSHES is a file with a JSON list of [seconds, events]. It
starts at the first line on stdin, and at the second prints its CPU time in seconds.
"""

import json
import socket
import sys
import time
from pathlib import Path

PAD = "x" * 100
EVENT = (
    '{"seq":%d,"at":"2026-11-20T10:00:00.000Z","kind":"agent.progress","swarm":"bench",'
    '"data":{"t":%d,"note":"' + PAD + '"}}'
)
HEAD = b'{"jsonrpc":"2.0","method":"$/events","params":{"subscription":1,"events":['


def main() -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[1])
    listening.listen(512)
    flushes = json.loads(Path(sys.argv[3]).read_text())
    print("ready", flush=True)
    peers = [listening.accept()[0] for _ in range(int(sys.argv[2]))]
    sys.stdin.readline()
    cpu, begun, seq = time.process_time(), time.monotonic(), 0
    for at_s, count in flushes:
        time.sleep(max(0.0, begun + at_s - time.monotonic()))
        now = time.monotonic_ns()
        bodies = [(EVENT % (seq + number, now)).encode() for number in range(1, count + 1)]
        seq += count
        line = b"".join((HEAD, b",".join(bodies), b"]}}\n"))
        for peer in peers:
            peer.sendall(line)
    sys.stdin.readline()
    print(time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
