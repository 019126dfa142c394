"""git, always in a jail: no hook, no fsmonitor, no configuration but the repository's own.

Nothing here trusts a repository: what its configuration or attributes start runs inside the jail, which sees
the given paths, no network, and no other file of the user. The git directory is always named, so that git
never looks for one, and replace refs are never followed, so that an id means its content.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashd.jail import tool
from dashd.workspace.errors import GitFailed

DEADLINE_S = 120.0
OUTPUT_BYTES_MAX = 256 << 20
REASON_CHARACTERS_MAX = 2000

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": tool.HOME,
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_AUTHOR_NAME": "Dash",
    "GIT_AUTHOR_EMAIL": "dash@localhost",
    "GIT_COMMITTER_NAME": "Dash",
    "GIT_COMMITTER_EMAIL": "dash@localhost",
}

# The command line outranks the repository's own configuration.
OPTIONS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.sshCommand": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.alternateRefsCommand": "true",
    "core.fsync": "committed,reference",
    "core.packedRefsTimeout": "5000",
    "core.quotePath": "false",
    "credential.helper": "",
    "diff.external": "",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
    "safe.directory": "*",
}

_FEED = 'at=$1 file=$2; shift 2; tail -c "+$at" -- "$file" | "$@"'


@dataclass(frozen=True)
class Place:
    """Where git works and what it sees; `git_dir` must lie in one of the paths."""

    git_dir: Path
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    work_tree: Path | None = None
    env: Mapping[str, str] | None = None


def command(*args: str) -> tuple[str, ...]:
    """The argv of a git that takes nothing from elsewhere."""
    options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
    return ("git", *options, *args)


async def run(
    place: Place,
    *args: str,
    stdin: bytes = b"",
    feed: tuple[Path, int] | None = None,
    ok: Sequence[int] = (0,),
    deadline_s: float = DEADLINE_S,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
) -> tool.Finished:
    """Runs git; `feed` is a file, and where to begin in it, that it reads as its standard input.

    Raises GitFailed where it does not end with a code in `ok`.
    """
    # Without a work tree of its own git would go to the one that the configuration names.
    work_tree = place.work_tree or place.git_dir
    env = {**ENVIRONMENT, "GIT_DIR": str(place.git_dir), "GIT_WORK_TREE": str(work_tree), **(place.env or {})}
    argv = command(*args)
    if feed:
        argv = ("sh", "-c", _FEED, "sh", str(feed[1] + 1), str(feed[0]), *argv)
    job = tool.Tool(
        argv=argv,
        cwd=work_tree,
        env=env,
        read=place.read,
        write=place.write,
        stdin=stdin,
        deadline_s=deadline_s,
        output_bytes_max=output_bytes_max,
    )
    try:
        finished = await tool.run(job)
    except (tool.ToolFailed, tool.ToolTimeout) as error:
        raise GitFailed(str(error)) from error
    if finished.code not in ok:
        raise GitFailed(f"git {_verb(args)} ended with {finished.code}: {reason(finished)}")
    return finished


async def text(place: Place, *args: str, stdin: bytes = b"") -> str:
    """What git prints, without the last line's end."""
    return (await run(place, *args, stdin=stdin)).stdout.decode(errors="surrogateescape").rstrip("\n")


async def lines(place: Place, *args: str, stdin: bytes = b"") -> list[bytes]:
    """The NUL-terminated records that git prints, all of them. Raises GitFailed where they are too many."""
    finished = await run(place, *args, stdin=stdin)
    if finished.cut:
        raise GitFailed(f"git {_verb(args)} printed more than {OUTPUT_BYTES_MAX >> 20} MiB.")
    return finished.stdout.split(b"\0")[:-1]


def _verb(args: Sequence[str]) -> str:
    options = {n for n, word in enumerate(args) if word == "-c"}
    return next(word for n, word in enumerate(args) if not options & {n, n - 1})


def reason(finished: tool.Finished) -> str:
    """What git said, short enough for an error."""
    said = finished.stderr.strip() or finished.stdout.strip() or b"no message"
    return said.decode(errors="replace")[-REASON_CHARACTERS_MAX:]
