"""Grade M: a view as a Seatbelt profile, for macOS. Written from what is documented, and run on no Mac yet.

    sandbox-exec -p PROFILE -D W0=/its/folder … -- program

Everything is denied but an allow list; of two rules that match, the later one wins, so folders come with
those around others first, as launch.py binds them. No path of a view is ever part of the profile's text: each
is a parameter, and what an agent named a folder cannot be read as a rule. Rules are about real paths (/tmp is
/private/tmp).

What Linux has and this has not: namespaces (other processes and the names and sizes of files stay in sight),
limits of memory and processes, an end with the holder's. Holders and fork server are Linux programs so far,
so that `probe` finds this grade and agents are not started behind it. Pure but for `attempt`.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from .view import Folder, View

PROGRAM = "/usr/bin/sandbox-exec"
TRY_S_MAX = 10.0
SYSTEM = ("/usr", "/bin", "/sbin", "/System", "/Library/Apple", "/private/var/db/dyld")
SETTINGS = (
    *("/private/etc/passwd", "/private/etc/group", "/private/etc/hosts", "/private/etc/localtime"),
    *("/private/etc/ssl", "/private/var/db/timezone"),
)
"""Of the system's: what programs need and everybody may know."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/dtracehelper")
SERVICES = ("com.apple.system.opendirectoryd.libinfo",)
"""Of all that answers on a Mach port: who a user is. No Apple events, nothing that starts programs."""
_ALWAYS = """\
(version 1)
(deny default)
(allow process-fork process-exec)
(allow signal process-info* (target same-sandbox))
(allow sysctl-read)
"""


class Profile(msgspec.Struct, frozen=True):
    """The rules, and the values of the names in them."""

    text: str
    values: tuple[tuple[str, str], ...]

    def command(self, argv: Sequence[str], program: str = PROGRAM) -> list[str]:
        """What to execute; it holds paths and no secret, for every user can read it."""
        defined = [word for name, value in self.values for word in ("-D", f"{name}={value}")]
        return [program, "-p", self.text, *defined, "--", *argv]


def profile(
    view: View,
    *,
    tmp: str,
    port: int | None = None,
    socket: str | None = None,
    real: Callable[[str], str] = os.path.realpath,
) -> Profile:
    """What a view allows.

    `tmp`: the launch's own folder, for HOME and TMPDIR. `port` of the loopback address, or `socket`: the
    agent's own listener. `real` gives the path that the kernel will see.
    """
    shown = dict.fromkeys((real(path) for path in _paths(view.read)), False)
    shown |= dict.fromkeys((real(path) for path in (*_paths(view.write), tmp)), True)
    names = {path: f"{'W' if shown[path] else 'R'}{number}" for number, path in enumerate(sorted(shown))}
    above = sorted({str(each) for path in shown for each in Path(path).parents})
    values = {f"A{number}": path for number, path in enumerate(above)}
    text = _ALWAYS
    text += _rule("allow mach-lookup", [f'(global-name "{name}")' for name in SERVICES])
    text += _rule("allow file-read*", [f'(subpath "{path}")' for path in (*SYSTEM, *SETTINGS)])
    text += _rule("allow file-read* file-write-data file-ioctl", [f'(literal "{path}")' for path in DEVICES])
    text += _rule("allow file-read-metadata", [f'(literal (param "{name}"))' for name in values])
    for path, name in names.items():
        rule = [f'(subpath (param "{name}"))']
        text += _rule("allow file-read* file-write*" if shown[path] else "allow file-read*", rule)
        text += "" if shown[path] else _rule("deny file-write*", rule)
        values[name] = path
    if port is not None:
        text += _rule("allow network-outbound", [f'(remote ip "localhost:{port:d}")'])
    if socket is not None:
        text += _rule("allow network-outbound", ['(literal (param "LISTENER"))'])
        values["LISTENER"] = real(socket)
    return Profile(text, tuple(values.items()))


def _paths(folders: Sequence[Folder]) -> list[str]:
    """Where folders are; what is to be shown elsewhere cannot be shown, for nothing is mounted."""
    return [folder.at for folder in folders if not folder.mounted]


def _rule(what: str, matching: Sequence[str]) -> str:
    lines = "".join(f"\n  {each}" for each in matching)
    return f"({what}{lines})\n"


def attempt(program: str = PROGRAM) -> str:
    """Why such a jail does not stand here, or nothing: a program runs in it and reads nothing outside."""
    with tempfile.TemporaryDirectory(prefix="dash-probe-") as folder:
        inside, secret = Path(folder, "inside"), Path(folder, "secret")
        inside.mkdir()
        for file in (secret, inside / "known"):
            file.write_text("canary")
        made = profile(View(str(inside)), tmp=str(inside))
        try:
            if _reads(made, inside / "known", program) != "canary":
                return "nothing could be read in it"
            if _reads(made, secret, program):
                return "a file outside can be read"
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return ""


def _reads(made: Profile, file: Path, program: str) -> str:
    """What /bin/cat says of a file, in a jail."""
    command = made.command(["/bin/cat", os.path.realpath(file)], program)
    done = subprocess.run(command, capture_output=True, text=True, env={}, timeout=TRY_S_MAX, check=False)
    return done.stdout
