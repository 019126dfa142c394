"""Why a workspace could not be made, saved, merged or removed; each says what would help.

WorkspaceError
├── UnsupportedRepository   this kind of repository cannot be worked on
├── UnknownBase             the base names no commit
├── WorkspaceExists         the agent has one already
├── OutsideRoot             a path is not a workspace of this root
├── GitFailed               git, in its jail, did not do it
├── RefMoved                a ref is not where it was; CheckedOut: it may not be moved by us
├── TreeChanged             the tree is still being written to
├── TreeTooLarge            the tree is beyond every limit
├── NotSaved                removal was refused, because something would be lost
├── NotAhead                a branch has commits that what is to be landed on it has not
├── OutsideScope            commits change paths that their agent may not write
├── MergeConflict           with the paths; GateFailed: with the gate and its output
└── CheckoutNotClean        landing was refused, with the paths
"""

from collections.abc import Sequence

PATHS_SHOWN_MAX = 10


class WorkspaceError(Exception):
    """A workspace could not be worked on."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Either may name files as agents have named them; it can be written down all the same."""
        self.message, self.hint = _sayable(message), _sayable(hint)
        super().__init__(f"{self.message} {self.hint}".strip())


def _sayable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


class UnsupportedRepository(WorkspaceError):
    """This kind of repository cannot be worked on."""


class UnknownBase(WorkspaceError):
    """The base names no commit."""


class WorkspaceExists(WorkspaceError):
    """The agent has a workspace already."""


class OutsideRoot(WorkspaceError):
    """A path is not a workspace of this root."""


class GitFailed(WorkspaceError):
    """git did not do what it was asked."""


class RefMoved(WorkspaceError):
    """A ref is not where it was expected."""

    def __init__(self, ref: str, expected: str | None, found: str | None) -> None:
        self.ref, self.expected, self.found = ref, expected, found
        super().__init__(
            f"{ref} is at {found or 'nothing'}, not at {expected or 'nothing'}; it was not touched.",
            hint="Somebody else moved it: look at it, then try again.",
        )


class CheckedOut(WorkspaceError):
    """A branch is checked out somewhere, so that moving it would tear it from its files."""


class TreeChanged(WorkspaceError):
    """The tree was still being written to."""


class TreeTooLarge(WorkspaceError):
    """The tree is larger than what can be saved."""


class NotSaved(WorkspaceError):
    """Removal was refused, because something would be lost."""


class NotAhead(WorkspaceError):
    """A branch has commits that what is to be landed on it has not."""


class _WithPaths(WorkspaceError):
    def __init__(self, message: str, paths: Sequence[str], *, hint: str = "") -> None:
        self.paths = tuple(paths)
        shown = ", ".join(ascii(path)[1:-1] for path in self.paths[:PATHS_SHOWN_MAX])
        more = len(self.paths) - PATHS_SHOWN_MAX
        super().__init__(f"{message}: {shown}{f' and {more} more' if more > 0 else ''}.", hint=hint)


class MergeConflict(_WithPaths):
    """Both sides changed the same lines; `paths` names the files."""


class OutsideScope(_WithPaths):
    """Commits change files that their agent may not write; `paths` names them."""


class CheckoutNotClean(_WithPaths):
    """The checkout has changes of its own; `paths` names them."""


class GateFailed(WorkspaceError):
    """A gate refused the merge."""

    def __init__(self, argv: Sequence[str], code: int | None, output: str) -> None:
        self.argv, self.code, self.output = tuple(argv), code, output
        end = "did not end in time" if code is None else f"ended with {code}"
        super().__init__(f"The gate {' '.join(argv)!r} {end}; nothing was merged.")
