"""File names as entries of a git tree, for those that git refuses there.

git never takes `.git` or what some file system takes for it (`.GIT`, `.git `, `git~1`, with invisible
characters in between). Such a name is kept under another one: `dash-kept` is put in front. A name that begins
like that already gets it too, so that every name comes back exactly; pure, and tested over all bytes.
"""

PREFIX = b"dash-kept"
MANIFEST = b"dash-kept-manifest"
"""The one other entry beside a tree's own; no name is kept under it, because `-manifest` need not be kept."""

# HFS+ ignores these in names: git, utf8.c, next_hfs_char.
_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_GIT = (".git", "git~1")
_MODULES = (".gitmodules", "gitmod~", "gi7eba~")


def encode(name: bytes, *, link: bool = False) -> bytes:
    """The name in a git tree; `link` says that it is a symbolic link, which may not be `.gitmodules`."""
    if name.startswith(PREFIX) or any(_refused(part, link=link) for part in name.split(b"\\")):
        return PREFIX + name
    return name


def decode(name: bytes) -> bytes:
    """The name that was encoded."""
    return name.removeprefix(PREFIX)


def _refused(part: bytes, *, link: bool) -> bool:
    text = part.decode("utf-8", "surrogateescape").translate(_IGNORED).casefold()
    if link and text.startswith(_MODULES):
        return True
    for dangerous in _GIT:
        if text.startswith(dangerous):
            rest = text.removeprefix(dangerous).lstrip(" .")
            if not rest or rest.startswith(":"):
                return True
    return False
