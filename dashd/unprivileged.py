"""dashd is never root: started by root, it goes on as `daemon.run_as` before it opens anything.

First it proves, as that user, that nothing on the way to the interpreter, the code and the state folder is
shut: a Python under a home of mode 0700 works until its next import, and then fails somewhere else.
"""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import dashd
from dashd.config import BadConfig, Config
from dashd.wire import errors


def leave_root(config: Config, environ: Mapping[str, str]) -> None:
    """Returns where this is no root; otherwise runs the same command again as another user.

    Raises Forbidden naming the first folder that shuts that user out, and BadConfig where none is named.
    """
    if os.geteuid() != 0:
        return
    uid = config.daemon.run_as
    if uid is None:
        raise BadConfig(
            "dashd does not run as root: what its agents do would be done by root",
            hint="start it as another user, or name one: DASH_RUN_AS=UID (a number is enough)",
            path="daemon.run_as",
        )
    state_dir = config.daemon.state_dir
    places = {
        "the interpreter": Path(sys.executable),
        "Dash": _code(),
        "the state folder": state_dir,
        "the socket": config.daemon.socket.parent,
    }
    for what, place in places.items():
        if (shut := as_user(uid, partial(first_shut, place))) is not None:
            raise errors.Forbidden(
                f"uid {uid} (daemon.run_as) cannot enter {shut}, which is on the way to {what}, {place}",
                hint=_remedy(what, shut),
                path="daemon.run_as",
            )
    give(state_dir, uid)
    _again(uid, {**environ, "DASH_STATE_DIR": str(state_dir), "DASH_SOCKET": str(config.daemon.socket)})


def first_shut(place: Path) -> str | None:
    """The first folder on the way to a place that this user cannot enter, links followed; None: all are open.

    What is not there yet shuts nobody out.
    """
    real = Path(os.path.realpath(place))
    for folder in (*reversed(real.parents), real):
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return str(folder)
    return None


def as_user(uid: int, question: Callable[[], str | None]) -> str | None:
    """What a forked child of that user answers; only for the first moments of a program, without threads."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become(uid)
            answer = question()
            os.write(writer, b"" if answer is None else b"=" + os.fsencode(answer))
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise errors.Forbidden(f"this process may not become uid {uid}", path="daemon.run_as")
    return os.fsdecode(said[1:]) if said else None


def become(uid: int) -> None:
    """Drops every right of root's, for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def give(folder: Path, uid: int) -> None:
    """Makes a folder (0700) if need be; it, and what root left in it, is that user's. No link is followed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place, folders, files in os.walk(folder):
        for name in (place, *(os.path.join(place, each) for each in (*folders, *files))):
            if os.lstat(name).st_uid == 0:
                os.chown(name, uid, uid, follow_symlinks=False)


def _code() -> Path:
    return Path(dashd.__file__).resolve().parent


def _remedy(what: str, shut: str) -> str:
    if what == "the state folder":
        return f"name one that it can reach: DASH_STATE_DIR=/var/lib/dash, or chmod o+x {shut}"
    if what == "the socket":
        return "name one that it can reach: DASH_SOCKET, for dashd and its clients alike"
    return f"chmod o+x {shut}, or install Dash with a Python that others can reach"


def _again(uid: int, environ: Mapping[str, str]) -> NoReturn:
    argv = [sys.executable, *sys.orig_argv[1:]]
    kept = {name: value for name, value in environ.items() if not name.startswith(("XDG_", "SUDO_"))}
    home = environ["DASH_STATE_DIR"]
    become(uid)
    os.execve(sys.executable, argv, {**kept, "HOME": home})
