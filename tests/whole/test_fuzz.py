"""100,000 malformed frames leave a real daemon answering, with a quiet log and no more memory than before."""

import json
import socket
import threading
from pathlib import Path

import pytest

from tests.fakes import frames

FRAMES_A_PEER = 10_000
GROWTH_KIB_MAX = 8 * 1024
ANSWER_S_MAX = 60.0


def resident_kib(pid: int) -> int:
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1])


def torment(path: str, seed: int) -> bool:
    """Sends a peer's worth of frames and reads on until the ping behind them is answered."""
    ping = {"jsonrpc": "2.0", "id": f"end {seed}", "method": "daemon.ping"}
    stream = b"".join(frame + b"\n" for frame in frames.malformed(seed, FRAMES_A_PEER))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_S_MAX)
        sock.connect(path)
        sender = threading.Thread(target=sock.sendall, args=(stream + json.dumps(ping).encode() + b"\n",))
        sender.start()
        with sock.makefile("rb") as answers:
            answered = any(b'"id":"end %d"' % seed in line and b'"result"' in line for line in answers)
        sender.join()
    return answered


@pytest.mark.slow
def test_malformed_frames_leave_it_answering_and_no_larger(start_daemon) -> None:
    dashd = start_daemon()
    assert torment(dashd.socket, 0)  # what is made once and kept is made now
    before = resident_kib(dashd.pid)
    for seed in range(1, 11):
        assert torment(dashd.socket, seed), f"the peer with seed {seed} was dropped"
    assert resident_kib(dashd.pid) - before < GROWTH_KIB_MAX
    assert dashd.call("daemon.status")["state"] == "ready"
    assert dashd.log() == ""
