"""The last steps of a forked child before it is the agent: own session, own stdio, its folder, exec.

Whatever fails is reported on a socket that a successful exec closes, so a start failure is never taken for an
exit code. The agent dies with its holder (PR_SET_PDEATHSIG; the holder is one thread, so thread and process
are one). Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_ENDED_FIRST_BY, _OOM_SCORE_ADJ_MAX = 500, 1000
prctl = ctypes.CDLL(None, use_errno=True).prctl


def reap_orphans(name: bytes) -> None:
    """Whoever loses their parent below this process becomes its child; `name` is what `ps` shows of it."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(_PR_SET_NAME, name, 0, 0, 0)


def be_ended_first(proc: str = "/proc/self") -> None:
    """Should the machine's memory run out, the kernel ends this process, and all it starts, before dashd.

    Raising needs no right. A jail's stage lets nobody write it back; without a jail an agent could.
    """
    with contextlib.suppress(OSError, ValueError):  # no wall: an agent starts without it as well
        path = f"{proc}/oom_score_adj"
        with open(path, encoding="ascii") as file:
            own = int(file.read())
        with open(path, "w", encoding="ascii") as file:
            file.write(str(min(own + _ENDED_FIRST_BY, _OOM_SCORE_ADJ_MAX)))


def programs(name: str, env: dict[str, str]) -> list[str]:
    """The files that `name` may mean, in order, by the agent's own PATH."""
    if "/" in name:
        return [name]
    return [f"{folder or '.'}/{name}" for folder in env.get("PATH", os.defpath).split(os.pathsep)]


def become_agent(
    argv: list[str],
    files: list[str],
    env: dict[str, str],
    cwd: str,
    holder: int,
    stdio: tuple[int, int, int],
    failure: int,
) -> NoReturn:
    """Becomes the agent, or says on the fd `failure` which step failed for which path, and ends.

    Signals need no resetting: exec does it for caught ones, and no ancestor ignores any. All other fds
    close on exec.
    """
    step, path = "chdir", cwd
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != holder:  # it died before the line above
            os._exit(127)
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        os.chdir(path)
        step, path = "exec", argv[0]
        _exec_first(files, argv, env)
    except (OSError, ValueError) as error:
        os.write(failure, failure_text(error, step, path).encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _exec_first(files: list[str], argv: list[str], env: dict[str, str]) -> NoReturn:
    """As execvpe(3): the first file that can be run; one there that may not be run is the better error."""
    refused: OSError | None = None
    for file in files:
        try:
            os.execve(file, argv, env)
        except (FileNotFoundError, NotADirectoryError) as error:
            missing: OSError = error
        except PermissionError as error:
            refused = error
    raise refused or missing


def failure_text(error: OSError | ValueError, step: str, path: str) -> str:
    """`ENOENT: No such file or directory: exec '/no/such'`."""
    if not isinstance(error, OSError) or error.errno is None:
        return f"EINVAL: {error}: {step} {path!r}"
    return f"{errno.errorcode.get(error.errno, error.errno)}: {os.strerror(error.errno)}: {step} {path!r}"


def usage() -> dict[str, int]:
    """What all that ended below us has used, for the record."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_ms": round((used.ru_utime + used.ru_stime) * 1000), "max_rss_kib": used.ru_maxrss}


def exit_code(status: int, *, jailed: bool) -> int:
    """The agent's exit code, or minus the signal that ended it.

    A jail passes a signal on as a shell does, as 128 and its number, and so does a shell inside of one.
    """
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if jailed and 128 < code <= 128 + signal.SIGRTMAX else code
