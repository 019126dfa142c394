"""What the agents of the demo run in their shell: compiles, reviews and notes down one Python file.

    python -I -S check.py JOURNAL LINES_PER_S compile|review|note FILE

Standard library only. `compile` appends a line to the journal when an agent begins with a file, `note` one
when it has done with it, each in a single write to a file opened with O_APPEND; that journal, not Dash, is
what the demo's figures are counted from. `compile` exits with 1 where the file cannot be, and says why.
"""

import ast
import contextlib
import json
import os
import sys
import time
from typing import Any

PACE_S_MIN, PACE_S_MAX = 0.5, 5.0
_MUTABLE = (ast.List, ast.Dict, ast.Set)


def main(argv: list[str]) -> int:
    """Takes one of the three steps and returns the exit code."""
    journal, lines_per_s, step, path = argv[1], float(argv[2]), argv[3], argv[4]
    steps = {"compile": begin, "review": review, "note": finish}
    said, code = steps[step](journal, lines_per_s, path)
    sys.stdout.write(said + "\n")
    return code


def begin(journal: str, lines_per_s: float, path: str) -> tuple[str, int]:
    """An agent begins with the file: (what is said of it, exit code)."""
    note(journal, {"what": "start", "item": path})
    fault = compiled(path)
    return fault or f"{path} compiles", int(bool(fault))


def review(journal: str, lines_per_s: float, path: str) -> tuple[str, int]:
    """Reads the file at a pace that a person can follow."""
    found = examine(path)
    time.sleep(min(max(found["lines"] / lines_per_s, PACE_S_MIN), PACE_S_MAX))
    return f"{found['remarks']} remarks", 0


def finish(journal: str, lines_per_s: float, path: str) -> tuple[str, int]:
    """The agent has done with the file: what it found goes into the journal."""
    fault, found = compiled(path), examine(path)
    note(journal, {"what": "end", "item": path, "ok": not fault, **found})
    return fault or json.dumps(found), 0


def note(journal: str, facts: dict[str, Any]) -> None:
    """Appends one line: what happened, to whom, in which run, and when on the machine's monotonic clock."""
    who = {"task": os.environ.get("DASH_TASK"), "agent": os.environ.get("DASH_AGENT"), "run": run()}
    line = json.dumps({**facts, **who, "at": time.monotonic()}) + "\n"
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def run() -> str:
    """The agent's process, which is not ours, with the instant at which it began: the outermost one around us
    that was started for this agent, for a tool may have a session of its own. Else our session.
    """
    agent, found = os.environ.get("DASH_AGENT"), os.getsid(0)
    with contextlib.suppress(OSError, IndexError):
        parent = int(stat(os.getpid())[1])
        while agent and parent > 1 and works_for(parent, agent):
            found, parent = parent, int(stat(parent)[1])
        return f"{found}.{stat(found)[19]}"
    return str(found)


def works_for(pid: int, agent: str) -> bool:
    """Whether the process was started with the environment of this agent."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return f"DASH_AGENT={agent}\0".encode() in file.read()
    return False


def stat(pid: int) -> list[str]:
    """The fields of a process's line from its state on: the parent is the second, its begin the 20th."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode().split()


def compiled(path: str) -> str:
    """Why the file does not compile; empty where it does."""
    with open(path, "rb") as file:
        source = file.read()
    try:
        compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path} does not compile, line {error.lineno}: {error.msg}"
    return ""


def examine(path: str) -> dict[str, int]:
    """Reviews and counts the file; one that does not compile has lines alone."""
    with open(path, encoding="utf-8") as file:
        source = file.read()
    try:
        nodes = list(ast.walk(ast.parse(source, path)))
    except SyntaxError:
        nodes = []
    return {
        "lines": source.count("\n") + 1,
        "functions": sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "remarks": sum(map(lint, nodes)),
    }


def lint(node: ast.AST) -> int:
    """How many remarks a reviewer has: bare excepts, `== None`, mutable defaults, prints, asserts."""
    match node:
        case ast.ExceptHandler(type=None):
            return 1
        case ast.Compare(comparators=[ast.Constant(value=None)], ops=[ast.Eq() | ast.NotEq()]):
            return 1
        case ast.arguments():
            return sum(isinstance(default, _MUTABLE) for default in (*node.defaults, *node.kw_defaults))
        case ast.Call(func=ast.Name(id="print" | "eval" | "exec")):
            return 1
        case ast.Assert():
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
