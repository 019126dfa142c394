"""What an agent of the demo runs: compiles, lints and counts one Python file, and says how far it is.

    python -I check.py JOURNAL LINES_PER_S FILE

Standard library only. It appends a line to the journal when it starts and one when it ends, each in a single
write to a file opened with O_APPEND; that journal, not Dash, is what the demo's figures are counted from.
Exit 0: the file compiles; exit 1: it does not, and stderr says where and why.
"""

import ast
import json
import os
import py_compile
import sys
import time
from typing import Any

STEPS = 5
PACE_S_MIN, PACE_S_MAX = 0.5, 5.0
_MUTABLE = (ast.List, ast.Dict, ast.Set)


def main(argv: list[str]) -> int:
    """Checks the file and returns the exit code."""
    journal, lines_per_s, path = argv[1], float(argv[2]), argv[3]
    note(journal, {"what": "start", "item": path})
    try:
        py_compile.compile(path, doraise=True)
    except py_compile.PyCompileError as error:
        sys.stderr.write(f"{path} does not compile.\n{error.msg}")
        note(journal, {"what": "end", "item": path, "ok": False})
        return 1
    found = examine(path, lines_per_s)
    sys.stdout.write(json.dumps(found) + "\n")
    note(journal, {"what": "end", "item": path, "ok": True, **found})
    return 0


def note(journal: str, facts: dict[str, Any]) -> None:
    """Appends one line: what happened, to whom, and when on the machine's monotonic clock."""
    who = {"task": os.environ.get("DASH_TASK"), "agent": os.environ.get("DASH_AGENT"), "pid": os.getpid()}
    line = json.dumps({**facts, **who, "at": time.monotonic()}) + "\n"
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def examine(path: str, lines_per_s: float) -> dict[str, int]:
    """Lints and counts the file, at a pace that a person can follow."""
    with open(path, encoding="utf-8") as file:
        source = file.read()
    lines = source.count("\n") + 1
    pace_s = min(max(lines / lines_per_s, PACE_S_MIN), PACE_S_MAX)
    nodes = list(ast.walk(ast.parse(source, path)))
    share = len(nodes) // STEPS + 1
    remarks = 0
    for step in range(STEPS):
        remarks += sum(map(lint, nodes[step * share : (step + 1) * share]))
        report(step + 1, f"{remarks} remarks so far")
        time.sleep(pace_s / STEPS)
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
    classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
    return {"lines": lines, "functions": functions, "classes": classes, "remarks": remarks}


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


def report(step: int, text: str) -> None:
    """Tells Dash how far it is; `event.wait`, `agent.list` and the console show it."""
    sys.stdout.write("@dash " + json.dumps({"progress": [step, STEPS], "note": text}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
