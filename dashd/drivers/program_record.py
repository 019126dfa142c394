"""What an installation says of itself, and whether that is still true.

`program_install` writes it, in a process of its own; dashd reads it, and has no installer in its memory.
"""

import hashlib
import json
import stat
from pathlib import Path

from .programs import RECORD, Program


def packages(program: Program) -> dict[str, str]:
    """What a program is made from: `name@version` and what npm says of its bytes."""
    return {f"{package.name}@{package.version}": package.integrity for package in program.packages}


def digest(place: Path) -> str:
    """Of every file of an installation: names, modes and content."""
    found = hashlib.sha256()
    for path in sorted(each for each in place.rglob("*") if each.name != RECORD or each.parent != place):
        about = path.lstat()
        if stat.S_ISREG(about.st_mode):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            line = f"{path.relative_to(place)}\0{about.st_mode & 0o111:o}\0{content}\n"
            found.update(line.encode("utf-8", "surrogateescape"))
        elif not stat.S_ISDIR(about.st_mode):
            found.update(f"{path.relative_to(place)}\0not a file\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def faults(place: Path, program: Program) -> list[str]:
    """What is wrong with an installation; it is run, and every file of it looked at."""
    try:
        record = json.loads((place / RECORD).read_text())
    except (OSError, ValueError) as error:
        return [f"its record cannot be read: {error}"]
    found = [] if record.get("digest") == digest(place) else ["its files are not those that were installed"]
    if record.get("packages") != packages(program):
        found.append("it was made from other packages than this version pins")
    return found
