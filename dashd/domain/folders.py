"""Sets of folders: what a read or write scope is made of. Text alone decides here; nothing is looked up.

A folder is relative to the root of its scope (the agent's workspace, `.` is all of it) or absolute. The two
never meet: where the root lies is not known here, so what is granted can only be smaller than it could be.
A set is canonical: sorted, nothing twice, nothing below another. Who opens a folder still has to resolve it
without following a link (`openat2` BENEATH, NO_SYMLINKS): that a text lies inside says nothing of the disk.

Refused, never repaired: `..` (behind a link it leads elsewhere than the text says), control characters,
text that is not UTF-8, `~`, globs (a mount is a folder, it cannot express `*.py`), and the folders that the
kernel makes up (/proc/self/root is a way to everywhere). Brackets, braces and backslashes are names like any
other (`app/[id]`), Unicode is taken as it stands: neither can stand for more than the one folder so called.
"""

from collections.abc import Iterable

from dashd.wire.errors import InvalidParams

ROOT = "."
PATH_BYTES_MAX = 4_095
"""PATH_MAX of Linux, without its NUL."""
NAME_BYTES_MAX = 255
FOLDERS_MAX = 256
_KERNEL = frozenset({"proc", "sys", "dev"})
_GLOB = frozenset("*?")


def parse(text: str, *, root: str | None = None, path: str = "scope") -> str:
    """The canonical form of one folder; a trailing `/` or `/**` says nothing more than the folder itself.

    With `root`, absolute and itself canonical, an absolute folder at or below it becomes relative to it.
    Raises InvalidParams; `path` names the parameter.
    """
    _check_text(text, path)
    absolute = text.startswith("/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if parts and parts[-1] == "**":
        del parts[-1]
    for part in parts:
        _check_name(part, text, path)
    if absolute and parts and parts[0] in _KERNEL:
        raise _wrong(text, f"/{parts[0]} is made up by the kernel; a jail has its own", path, "leave it out")
    if not absolute:
        return "/".join(parts) or ROOT
    folder = "/" + "/".join(parts)
    return folder if root is None else relative(folder, root)


def parse_all(texts: Iterable[str], *, root: str | None = None, path: str = "scope") -> tuple[str, ...]:
    """The canonical set of at most FOLDERS_MAX folders as somebody wrote them."""
    given = list(texts)
    if len(given) > FOLDERS_MAX:
        hint = "name a folder above them instead"
        raise InvalidParams(f"{len(given)} folders, over {FOLDERS_MAX}", hint=hint, path=path)
    return canonical(parse(text, root=root, path=f"{path}[{at}]") for at, text in enumerate(given))


def relative(folder: str, root: str) -> str:
    """An absolute folder at or below `root` as seen from it, any other one as it is."""
    if not _at_or_below(folder, root):
        return folder
    return folder[len(root) :].lstrip("/") or ROOT


def absolute(folder: str, root: str) -> str:
    """A canonical folder where it is, seen from the absolute `root`."""
    if folder.startswith("/"):
        return folder
    return root if folder == ROOT else f"{root.rstrip('/')}/{folder}"


def canonical(folders: Iterable[str]) -> tuple[str, ...]:
    """The smallest set that reaches what these folders, each canonical, reach together."""
    found = set(folders)
    return tuple(sorted(each for each in found if not found.intersection(_above(each))))


def covers(folders: Iterable[str], folder: str) -> bool:
    """Whether a canonical path lies at or below one of them."""
    found = frozenset(folders)
    return folder in found or not found.isdisjoint(_above(folder))


def meet(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """What both reach."""
    inside = [each for each in one if covers(other, each)] + [each for each in other if covers(one, each)]
    return canonical(inside)


def union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """What either reaches."""
    return canonical(one + other)


def _above(folder: str) -> list[str]:
    """Every folder that holds this one, without itself."""
    top = "/" if folder.startswith("/") else ROOT
    if folder == top:
        return []
    parts = folder.strip("/").split("/")
    lead = "/" if top == "/" else ""
    return [top, *(lead + "/".join(parts[:count]) for count in range(1, len(parts)))]


def _at_or_below(folder: str, root: str) -> bool:
    return folder == root or root in _above(folder)


def _check_text(text: str, path: str) -> None:
    if not text:
        raise _wrong(text, "it is empty", path, "write . for the whole root")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _wrong(text, "it is not UTF-8", path, "rename the folder, or name the one above it") from None
    if size > PATH_BYTES_MAX:
        raise _wrong(text, f"{size} bytes are over {PATH_BYTES_MAX}", path, "name a folder further up")
    if not all(_is_plain(letter) for letter in text):
        raise _wrong(text, "it has a control character", path, "name the folder above it")
    if text.split("/")[0].startswith("~"):
        raise _wrong(text, "~ means a home only to a shell", path, "write the absolute path")


def _check_name(name: str, text: str, path: str) -> None:
    if name == "..":
        raise _wrong(text, ".. can lead out of the scope behind a link", path, "write the path without it")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise _wrong(text, f"a name in it is over {NAME_BYTES_MAX} bytes", path, "no folder is called so")
    if not _GLOB.isdisjoint(name):
        reason = "a scope is made of mounts, and mounts cannot express patterns"
        raise _wrong(text, reason, path, "name the folder that holds them; it reaches all below it")


def _is_plain(letter: str) -> bool:
    """No C0, DEL or C1, and neither of the two separators that end a line somewhere."""
    return not (letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029")


def _wrong(text: str, why: str, path: str, hint: str) -> InvalidParams:
    shown = ascii(text[:200])
    return InvalidParams(f"{shown} is no folder of a scope: {why}", hint=hint, path=path)
