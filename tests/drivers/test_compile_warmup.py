"""The warm-up: a program is told one thing, works on a model that says one word, and ends by end of file."""

import json
import socket
import subprocess
import sys
from pathlib import Path

from dashd.drivers import compile_warmup

PROGRAM = """
import json, sys, urllib.request
said = json.loads(sys.stdin.readline())
url = f"http://127.0.0.1:{sys.argv[1]}/v1/chat/completions"
told = urllib.request.urlopen(urllib.request.Request(url, data=b"{}")).read().decode()
chunks = [json.loads(line[6:]) for line in told.split("\\n\\n") if line.startswith("data: {")]
assert said == {"do": "it"}
assert "warm" in chunks[0]["choices"][0]["delta"]["content"], chunks
assert told.endswith("data: [DONE]\\n\\n")
print("noise")
assert len(sys.argv) == 2
print("it has worked", flush=True)
assert sys.stdin.read() == ""
print("after the end")
"""


def warm(*more: str) -> subprocess.CompletedProcess[bytes]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    told = {
        "argv": [sys.executable, "-c", PROGRAM, str(port), *more],
        "said": {"do": "it"},
        "until": "has worked",
        "port": port,
    }
    argv = [sys.executable, "-I", "-S", str(Path(compile_warmup.__file__))]
    return subprocess.run(argv, input=json.dumps(told).encode(), capture_output=True, timeout=60, check=False)


def test_a_program_that_works_and_ends() -> None:
    done = warm()
    assert (done.returncode, done.stderr) == (0, b"")


def test_one_that_ends_before_it_has_worked_fails() -> None:
    done = warm("not")
    assert done.returncode == 1
    assert b"it ended with exit code 1 before it had worked" in done.stderr
