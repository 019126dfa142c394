"""Which program lies at a path: what files it is, and the version that it says.

It is asked in a jail of its own, without network, and sees nothing but itself: whoever can write there has no
say outside. What files it was asked of is remembered as a stamp, so that it is asked again only where they
have changed.
"""

import os
import re
from pathlib import Path

from dashd.jail import tool, view

from .compiled import SCRIPTS
from .programs import Found

VERSION_S_MAX = 30.0
OUTPUT_BYTES_MAX = 65_536
SAID_CHARS_MAX = 300
_VERSION = re.compile(r"\d+(\.\d+)+[0-9A-Za-z.+-]*")
_ENVIRON = {"PATH": "/usr/bin:/bin", "PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"}


class NoVersion(Exception):
    """It did not say its version; the message says why."""


class NotAsked(NoVersion):
    """This machine cannot ask it, which says nothing about the program."""


def stamp(*programs: Found) -> str:
    """Another one where a file has become another one. Raises OSError; a few microseconds."""
    found = [os.stat(each.path) for each in programs]
    return " ".join(f"{each.st_dev}.{each.st_ino}.{each.st_size}.{each.st_ctime_ns}" for each in found)


async def version(node: Found | None, program: Found) -> str:
    """What it says, run as its driver runs it. Raises NoVersion; takes half a second of a core."""
    seen = [each for each in (node, program) if each is not None]
    folders = dict.fromkeys(Path(each.folder) for each in seen if not view.is_system(each.folder))
    is_script = program.name == "pi" or (program.name != "node" and program.path.endswith(SCRIPTS))
    if is_script and node is None:
        raise NoVersion(f"{program.name} needs node, which is neither installed nor configured")
    job = tool.Tool(
        argv=(*(each.path for each in (seen if is_script else [program])), "--version"),
        cwd=Path(program.folder),
        env=_ENVIRON,
        read=tuple(folders),
        write=(),
        deadline_s=VERSION_S_MAX,
        output_bytes_max=OUTPUT_BYTES_MAX,
    )
    try:
        done = await tool.run(job)
    except tool.ToolFailed as error:
        raise NotAsked(str(error)) from None
    except tool.ToolTimeout as error:
        raise NoVersion(str(error)) from None
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.code or not said:
        why = done.stderr.decode("utf-8", "replace").strip()[-SAID_CHARS_MAX:]
        raise NoVersion(
            f"asked for its version it ended with exit code {done.code}: {why or 'it said nothing'}"
        )
    if (number := _VERSION.search(said.splitlines()[0][:SAID_CHARS_MAX])) is None:
        raise NoVersion(f"it says that it is {said.splitlines()[0][:100]!r}, which is no version")
    return number[0][:100]
