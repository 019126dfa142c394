"""A provider that answers at once, or streams at an even pace, each chunk with the instant it was sent at.

`python -m tests.bench.baselines.provider PORT_FILE`. A call's first word says what it gets: `answer`, or
`stream COUNT PACE_MS`. Both end with a usage.
"""

import json
import sys
import time

import trio

USAGE = {"prompt_tokens": 400, "completion_tokens": 10, "total_tokens": 410}
ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 400}}],
        "usage": USAGE,
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n\r\n"


async def serve(stream: trio.SocketStream) -> None:
    data = b""
    try:
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some(65_536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields[b"content-length"])
            while len(data) < length:
                data += await stream.receive_some(65_536)
            body, data = json.loads(data[:length]), data[length:]
            await answer(stream, str(body["messages"][0]["content"]).split())
    except trio.BrokenResourceError:
        return
    finally:
        await trio.aclose_forcefully(stream)


async def answer(stream: trio.SocketStream, words: list[str]) -> None:
    if words[0] != "stream":
        head = HEAD % (b"application/json", b"content-length: %d" % len(ANSWER))
        await stream.send_all(head + ANSWER)
        return
    await stream.send_all(HEAD % (b"text/event-stream", b"transfer-encoding: chunked"))
    for _ in range(int(words[1])):
        await trio.sleep(float(words[2]) / 1_000)
        delta = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        await send(stream, {"at": time.monotonic(), "choices": [delta]})
    await send(stream, {"choices": [], "usage": USAGE})
    await chunk(stream, b"data: [DONE]\n\n")
    await stream.send_all(b"0\r\n\r\n")


async def send(stream: trio.SocketStream, event: object) -> None:
    await chunk(stream, b"data: " + json.dumps(event).encode() + b"\n\n")


async def chunk(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(b"%x\r\n%s\r\n" % (len(data), data))


async def main(port_file: trio.Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await port_file.write_text(str(listeners[0].socket.getsockname()[1]))
    print("ready", flush=True)
    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main, trio.Path(sys.argv[1]))
