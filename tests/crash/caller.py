"""The agent of the money tests: it makes random model calls side by side, and leaves some half-way.

Run by dashd as an embedded agent, under `python -I -S`; its item is a JSON object `{seed, client, calls,
threads, journal}`. It writes one line a call into its journal: the status it saw, or how the call ended.
Half of the calls that it leaves it leaves in the middle of the request.
"""

import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from typing import Any

CALL_S_MAX = 30.0
PATHS = ("/v1/chat/completions", "/v1/chat/completions", "/v1/messages", "/v1/responses")
MODELS = {"/v1/chat/completions": "m-1", "/v1/messages": "m-2", "/v1/responses": "m-3"}
REFUSED_S = 0.4
RESET = struct.pack("ii", 1, 0)


def request(chance: random.Random) -> bytes:
    """One call; its first word says who pays."""
    path = chance.choice(PATHS)
    text = f"{os.environ['DASH_AGENT']} " + "x" * chance.randrange(0, 3_000)
    body: dict[str, Any] = {"model": MODELS[path], "stream": chance.random() < 0.7}
    limit = chance.choice([300, 800, 2_000])
    if path.endswith("responses"):
        body |= {"input": text, "max_output_tokens": limit}
    else:
        body |= {"messages": [{"role": "user", "content": text}], "max_tokens": limit}
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {os.environ['DASH_MODEL_KEY']}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def call(chance: random.Random) -> str:
    """One call; how it ended."""
    address = os.environ["DASH_MODEL_URL"].removeprefix("http://").partition("/")[0].rpartition(":")
    sent = request(chance)
    leaves = chance.choices(["", "asking", "answered"], [80, 5, 15])[0]
    with socket.create_connection((address[0], int(address[2])), CALL_S_MAX) as stream:
        if chance.random() < 0.3:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if leaves == "asking":
            stream.sendall(sent[: chance.randrange(1, len(sent))])
            return "left"
        stream.sendall(sent)
        if leaves:
            stream.settimeout(chance.random() * 0.1)
            with contextlib.suppress(TimeoutError):
                stream.recv(chance.randrange(1, 4_000))
            return "left"
        answer = b""
        while piece := stream.recv(65_536):
            answer += piece
    return answer[9:12].decode() or "cut"


def work(plan: dict[str, Any], numbers: list[int], journal: int) -> None:
    """Calls until none is left to make."""
    while numbers:
        try:
            number = numbers.pop()
        except IndexError:
            return
        chance = random.Random(f"{plan['seed']}/{plan['client']}/{number}")
        try:
            ended = call(chance)
        except TimeoutError:
            ended = "silent"
        except OSError:
            ended = "cut"
        os.write(journal, f"{number} {ended}\n".encode())
        if ended not in ("200", "left"):
            time.sleep(REFUSED_S * chance.random())


def main() -> None:
    """Makes all calls, then returns what an embedded agent returns."""
    plan = json.loads(json.loads(os.environ["DASH_BRIEF"])["item"])
    journal = os.open(plan["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    numbers = list(range(plan["calls"]))
    threads = [threading.Thread(target=work, args=(plan, numbers, journal)) for _ in range(plan["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = {"summary": f"{plan['calls']} calls", "files_changed": [], "tests": [], "follow_ups": []}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
