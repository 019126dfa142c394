"""The embedded agent as the holder runs it: a child process, its folder, and a listener that tests script."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashd.drivers import embedded_agent
from dashd.drivers.embedded import PROGRAM
from dashd.drivers.embedded_agent import CONTEXT_CHARACTERS_MAX, TRIMMED, trimmed

pytestmark = pytest.mark.slow


def http(status: int, body: object, *, chunked: bool = False) -> bytes:
    payload = json.dumps(body).encode()
    if chunked:
        pieces = [payload[at : at + 7] for at in range(0, len(payload), 7)]
        body_bytes = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
        return (
            f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body_bytes + b"0\r\n\r\n"
        )
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(payload)}\r\n\r\n".encode() + payload


def calls(*made: tuple[str, object], text: str = "", **options: Any) -> bytes:
    """An answer that calls tools."""
    listed = [
        {
            "id": f"c{n}",
            "function": {"name": name, "arguments": a if isinstance(a, str) else json.dumps(a)},
        }
        for n, (name, a) in enumerate(made)
    ]
    message = {"role": "assistant", "content": text or None, "tool_calls": listed}
    return http(200, {"choices": [{"message": message}]}, **options)


def says(text: str, finish: str = "stop") -> bytes:
    return http(
        200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    )


ASKS: dict[str, str] = {}
"""What is put into the agent's environment."""
FINISH = calls(("finish", {"summary": "done"}))


class Listener:
    """Serves scripted answers, one a connection, in a thread; the last one again and again."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.socket.settimeout(20)
        self.answers: list[bytes] = []
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                with peer:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += peer.recv(65_536)
                    head, _, body = data.partition(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    while len(body) < length:
                        body += peer.recv(65_536)
                    self.heads.append(head.decode())
                    self.bodies.append(json.loads(body))
                    at = min(len(self.bodies), len(self.answers)) - 1
                    peer.sendall(self.answers[at])

    def results(self) -> list[str]:
        """What the tools said, as the last call told it."""
        return [m["content"] for m in self.bodies[-1]["messages"] if m["role"] == "tool"]

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(20)
        self.socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    made.thread.start()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (tmp_path / "secret").write_text("canary")
    return made


def environ(listener: Listener) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DASH_BRIEF": json.dumps({"task": "the task", "item": "an item"}),
        "DASH_MODEL_URL": f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1",
        "DASH_MODEL_KEY": "dk_key",
        "DASH_MODEL": "small",
        **ASKS,
    }


def work(listener: Listener, folder: Path, *answers: bytes) -> subprocess.CompletedProcess[str]:
    """Runs the agent to its end."""
    listener.answers = list(answers)
    argv = [sys.executable, "-I", "-S", str(PROGRAM)]
    return subprocess.run(
        argv, cwd=folder, env=environ(listener), capture_output=True, text=True, timeout=20, check=False
    )


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the loop -----------------------------------------------------------------------------------------------


def test_it_works_with_its_tools_and_reports(listener: Listener, folder: Path) -> None:
    plan = {"items": [{"text": "one", "done": True}, {"text": "two", "done": False}]}
    finish = {"summary": "did it", "files_changed": ["a.txt", "b.txt"], "tests": "pytest", "follow_ups": None}
    done = work(
        listener, folder,
        calls(("write", {"path": "sub/a.txt", "content": "one\r\ntwo\n"}), ("todo", plan)),
        calls(("edit", {"path": "sub/a.txt", "old": "two", "new": "2"}), ("read", {"path": "sub/a.txt"})),
        calls(("list", {}), ("list", {"path": "sub"}), ("bash", {"command": "echo $DASH_MODEL-; exit 3"})),
        calls(("finish", finish)),
    )  # fmt: skip
    assert result(done) == {
        "summary": "did it", "files_changed": ["sub/a.txt", "a.txt", "b.txt"], "tests": ["pytest"],
        "follow_ups": [],
    }  # fmt: skip
    assert (folder / "sub/a.txt").read_bytes() == b"one\r\n2\n"
    said = listener.results()
    assert said[:4] == ["wrote 9 bytes", "1 of 2 done", "edited", "one\r\n2\n"]
    assert said[4:6] == ["sub/", "a.txt"]
    assert said[6].startswith("-\n\n[exit 3 after")
    reports = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("@dash ")]
    assert {"progress": [1, 2], "note": "two"} in reports
    opening = listener.bodies[0]["messages"][1]["content"]
    assert opening == f"Task: the task\nYour item: an item\nFolder: {folder}"
    assert "authorization: Bearer dk_key" in listener.heads[0]
    assert listener.bodies[0]["model"] == "small"


def test_plain_words_are_the_result(listener: Listener, folder: Path) -> None:
    assert result(work(listener, folder, says("all fine")))["summary"] == "all fine"


def test_an_answer_that_is_empty_or_cut_off_is_not_the_end(listener: Listener, folder: Path) -> None:
    done = work(listener, folder, says(""), says("half an ans", "length"), FINISH)
    assert result(done)["summary"] == "done"
    assert work(listener, folder, says("")).returncode == 5


def test_a_model_that_comes_to_no_end_is_given_up(listener: Listener, folder: Path) -> None:
    done = work(listener, folder, calls(("list", {})))
    assert (done.returncode, len(listener.bodies)) == (5, embedded_agent.STEPS_MAX)


def test_a_huge_result_stays_whole(listener: Listener, folder: Path) -> None:
    finish = {"summary": "\u20ac" * 50_000, "tests": ["\ud800" * 500] * 900, "follow_ups": ["x" * 90_000]}
    line = work(listener, folder, calls(("finish", finish))).stdout.splitlines()[-1]
    assert len(line.encode()) <= embedded_agent.RESULT_BYTES_MAX
    assert set(json.loads(line)) == {"summary", "files_changed", "tests", "follow_ups"}


# --- the tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link", "linked/secret", "a/../../secret"])
def test_nothing_outside_the_folder_is_touched(listener: Listener, folder: Path, path: str) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "linked").symlink_to(folder.parent)
    tried = [("read", {"path": path}), ("write", {"path": path, "content": "x"}), ("list", {"path": path}),
             ("edit", {"path": path, "old": "canary", "new": "x"})]  # fmt: skip
    result(work(listener, folder, calls(*tried), FINISH))
    violation = f"error: Scope violation: attempted access to {path}; allowed scope: {folder}"
    assert listener.results() == [violation] * 4
    assert (folder.parent / "secret").read_text() == "canary"


def test_what_a_model_gets_wrong_is_for_it_to_read(listener: Listener, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    wrong = [
        ("read", '{"path": '), ("read", "[1]"), ("read", "[" * 20_000), ("fly", {}), ("read", {}),
        ("read", {"path": "none"}), ("read", {"path": "."}), ("read", {"path": "pipe"}),
        ("read", {"path": "a\0b"}), ("todo", {"items": ["x"]}), ("bash", {"command": "x", "shell": 1}),
        ("__init__", {}), ("read", {"path": 7}), ("finish", "not json"),
    ]  # fmt: skip
    result(work(listener, folder, calls(*wrong), FINISH))
    said = listener.results()
    assert len(said) == len(wrong)
    assert all(each.startswith("error: ") for each in said), said


def test_huge_outputs_are_clipped(listener: Listener, folder: Path) -> None:
    (folder / "big").write_bytes(b"x" * 100_000)
    asked = [("read", {"path": "big"}), ("read", {"path": "big", "limit": -1}),
             ("read", {"path": "big", "offset": 99_990}), ("bash", {"command": "seq 1000000"})]  # fmt: skip
    result(work(listener, folder, calls(*asked), FINISH))
    first, none, last, ran = listener.results()
    assert first == "x" * embedded_agent.READ_BYTES_MAX + "\n[more follows; read with offset]"
    assert (none, last) == ("\n[more follows; read with offset]", "x" * 10)
    assert ran.startswith("[beginning left out]\n")
    assert "\n1000000\n\n[exit 0" in ran
    assert len(ran) < embedded_agent.OUTPUT_BYTES_MAX + 100


def test_a_command_that_lasts_is_ended_with_its_children(listener: Listener, folder: Path) -> None:
    asked = [("bash", {"command": "sleep 60 & echo $! > pid; wait", "timeout_s": 0.3}),
             ("bash", {"command": "sleep 2 & echo left"})]  # fmt: skip
    result(work(listener, folder, calls(*asked), FINISH))
    ended, left = listener.results()
    assert ended.endswith("[ended after 0.3 s]")
    assert left.startswith("left\n\n[exit 0")
    pid = (folder / "pid").read_text().strip()
    with contextlib.suppress(FileNotFoundError):
        assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_the_context_is_trimmed_from_its_beginning() -> None:
    told: list[dict[str, Any]] = [{"role": role, "content": "t"} for role in ("system", "user")]
    for number in range(10):
        function = {"name": "write", "arguments": json.dumps({"content": "y" * 20_000})}
        told.append({"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": function}]})
        told.append({"role": "tool", "tool_call_id": "c", "content": f"{number}" * 20_000})
    kept = trimmed(told)
    assert sum(map(embedded_agent.characters, kept)) <= CONTEXT_CHARACTERS_MAX
    assert kept[-4:] == told[-4:]
    assert kept[:2] == told[:2]
    assert kept[3]["content"] == TRIMMED
    assert json.loads(kept[2]["tool_calls"][0]["function"]["arguments"]) == {"note": TRIMMED}
    assert told[3]["content"] == "0" * 20_000
    assert trimmed(told[:6]) == told[:6]


# --- the way to the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(402, 3), (401, 4), (404, 4), (503, 4)])
def test_a_refusal_is_final(listener: Listener, folder: Path, status: int, code: int) -> None:
    refusal = {"error": {"message": "spent it", "type": "t", "data": {"kind": "budget_exceeded"}}}
    done = work(listener, folder, http(status, refusal))
    assert (done.returncode, len(listener.bodies)) == (code, 1)
    assert f"HTTP {status} budget_exceeded: spent it" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "cut",
    [b"", b"HTTP/1.1 200 X\r\n", FINISH[:-5], calls(("finish", {}), chunked=True)[:-5],
     calls(("finish", {}), chunked=True)[:-9], b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_a_call_that_breaks_off_is_made_again(listener: Listener, folder: Path, cut: bytes) -> None:
    done = work(listener, folder, cut, calls(("finish", {"summary": "done"}), chunked=True))
    assert result(done)["summary"] == "done"
    assert len(listener.bodies) == 2
    assert listener.bodies[0] == listener.bodies[1]


@pytest.mark.parametrize("body", [{}, [], {"choices": []}, {"choices": [{"message": {"tool_calls": [1]}}]}])
def test_an_answer_without_a_message_is_given_up(listener: Listener, folder: Path, body: object) -> None:
    done = work(listener, folder, http(200, body))
    assert (done.returncode, len(listener.bodies)) == (4, 1)
    assert "not understood" in done.stderr


def test_a_refused_connection_is_tried_again_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        embedded_agent.Model(f"http://127.0.0.1:{port}/v1", "dk", "m").call([])
    assert len(slept) == embedded_agent.TRIES_MAX - 1
    assert 100 < sum(slept) < 180


def test_it_starts_fast_enough() -> None:
    """Loads nothing beside what every agent needs: `typing` and `subprocess` would double the start."""
    script = f"import sys; exec(open({str(PROGRAM)!r}).read(), {{'__name__': 'x'}}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"typing", "subprocess", "dataclasses", "asyncio", "http", "ssl"} & set(done.stdout.split())


# --- asking first -------------------------------------------------------------------------------------------


def told(decision: str, text: str = "") -> bytes:
    return http(200, {"decision": decision, "text": text})


def test_it_asks_about_what_it_is_told_to_and_each_ask_has_its_own_name(
    listener: Listener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_text("one")
    os.symlink("a", folder / "link")
    monkeypatch.setitem(ASKS, "DASH_ASK", "command,path")
    edit = {"path": "link", "old": "one", "new": "two"}
    done = work(
        listener, folder,
        calls(("bash", {"command": "rm a"}), ("edit", edit), ("write", {"path": "d/b", "content": ""})),
        told("deny", "not allowed: run `rm a`"), told("allow"), told("deny", "Scope violation: x"),
        calls(("read", {"path": "a"}), ("bash", {"command": "cat a"})),
        told("allow"),
        FINISH,
    )  # fmt: skip
    asked = [body for body in listener.bodies if "call" in body]
    assert asked == [
        {"kind": "command", "text": "rm a", "call": "1"},
        {"kind": "path", "text": "a", "call": "2"},
        {"kind": "path", "text": "d/b", "call": "3"},
        {"kind": "command", "text": "cat a", "call": "4"},
    ]
    assert all(head.startswith("POST /dash/v1/ask ") for head in listener.heads[1:4])
    assert all("Bearer dk_key" in head for head in listener.heads)
    said = listener.results()
    assert said[:3] == ["error: not allowed: run `rm a`", "edited", "error: Scope violation: x"]
    assert said[4].startswith("two")
    assert not (folder / "d").exists()
    assert result(done)["files_changed"] == ["a"]


def test_a_broken_connection_is_no_answer_and_anything_but_a_yes_is_a_no(
    listener: Listener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ASKS, "DASH_ASK", "tool")
    done = work(
        listener, folder,
        calls(("bash", {"command": "touch a"}), ("bash", {"command": "touch b"}), ("list", {})),
        b"", b"HTTP/1.1 200 X\r\n", told("allow"),
        http(404, {"error": {"message": "no path"}}),
        told("maybe"),
        FINISH,
    )  # fmt: skip
    names = [body["call"] for body in listener.bodies if "call" in body]
    assert names == ["1", "1", "1", "2", "3"]
    assert listener.bodies[1]["text"] == "bash"
    first, second, third = listener.results()
    assert "[exit 0" in first
    assert second.startswith("error: HTTP 404: ")
    assert third.startswith("error: HTTP 200: ")
    assert (folder / "a").exists()
    assert not (folder / "b").exists()
    assert result(done)["summary"] == "done"


def test_half_a_character_that_the_model_said_is_not_said_to_it(listener: Listener, folder: Path) -> None:
    script = says("cut here \ud83d", "length"), calls(("read", {"path": "\ud83d"})), FINISH
    done = work(listener, folder, *script)
    assert result(done)["summary"] == "done"
    assert [each["content"] for each in listener.bodies[1]["messages"]][2] == "cut here ?"
    reports = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("@dash ")]
    assert reports == [{"note": "read ?"}]
