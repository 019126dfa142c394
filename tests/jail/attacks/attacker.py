"""The attacker: runs the attacks, each in a child of its own, and prints one JSON line for each.

    attacker.py TARGETS.json [NAME...]      "-NAME" leaves one out, "-heavy" those that take memory

`works` is true where the attack succeeded as far as it can see itself. A victim that needed to be hit is
looked at by the scene outside. Standard library alone; runs with `python3 -I` inside a jail.
"""

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import on_files  # noqa: F401
import on_kernel  # noqa: F401
import on_network  # noqa: F401
import on_processes  # noqa: F401
import on_resources  # noqa: F401
import raw


def outcome(function, targets):
    """(works, detail) of an attack, in this process."""
    try:
        return True, str(function(targets))
    except OSError as error:
        return False, f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
    except raw.Failed as error:
        return False, str(error)
    except Exception as error:  # an attack that is broken must not end the others
        return False, f"BROKEN {type(error).__name__}: {error}"


def run(function, targets, limit_s):
    """The outcome, from a child with a process group of its own that does not outlive the limit."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(reader)
        os.write(writer, json.dumps(outcome(function, targets)).encode() + b"\n")
        os._exit(0)
    os.close(writer)
    line = read_line(reader, limit_s)
    os.close(reader)
    for end in (lambda: os.killpg(pid, signal.SIGKILL), lambda: os.kill(pid, signal.SIGKILL)):
        with contextlib.suppress(OSError):
            end()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if line:
        return json.loads(line)
    return False, f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit {status}"


def read_line(reader, limit_s):
    """One line, or what there was of it at the limit or at the end."""
    deadline, line = time.monotonic() + limit_s, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0, deadline - time.monotonic()))
        piece = os.read(reader, 4096) if ready else b""
        if not piece:
            return b""
        line += piece
    return line


def main():
    with open(sys.argv[1]) as file:
        targets = types.SimpleNamespace(**json.load(file))
    wanted = [name for name in sys.argv[2:] if not name.startswith("-")]
    unwanted = [name[1:] for name in sys.argv[2:] if name.startswith("-")]
    for name, (row, limit_s, heavy, function) in raw.ATTACKS.items():
        if name in unwanted or (heavy and "heavy" in unwanted) or (wanted and name not in wanted):
            continue
        started = time.monotonic()
        works, detail = run(function, targets, limit_s)
        took_ms = round((time.monotonic() - started) * 1000)
        print(
            json.dumps({"name": name, "row": row, "works": works, "detail": detail, "ms": took_ms}),
            flush=True,
        )


main()
