"""Which commands an agent's program should run, ask about, or leave: guidance, never a wall.

Whoever can run one program can run another through it (`python -c`, `ld.so ./file`, a memfd), so nothing
here keeps anybody from anything: the jail does. It serves programs that ask before they run a command.

A pattern is the words of a command; a last word `*` stands for any further words, none included. So patterns
lie below one another like folders do, what two lists of them both allow is a list again, and a child's can
be shown to be within its parent's. A line is cut at `;`, `&`, `|` and line ends, and each part is judged:

    deny    a part matches a deny pattern: by its program's path or bare name, behind assignments (`A=1 rm`),
            behind a program that runs another (`sudo rm`), or inside `sh -c '...'`
    allow   every part matches an allow pattern word by word, and nothing is hidden
    ask     everything else: a `$(...)`, an open quote, an assignment (PATH= changes which program runs)

Where everything is allowed and nothing denied, nothing is asked about.
"""

import shlex
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import msgspec

from dashd.wire.errors import InvalidParams

Verdict = Literal["allow", "ask", "deny"]
ANY = "*"
PATTERN_LENGTH_MAX = 1_000
PATTERNS_MAX = 256
LINE_LENGTH_MAX = 20_000
"""A longer line is asked about unread."""
_NESTED_MAX = 3
_READINGS_MAX = 32
_KEYWORDS = frozenset({"{", "!", "if", "then", "elif", "else", "while", "until", "do"})
_RUNNERS = _KEYWORDS | {
    *("sudo", "doas", "env", "command", "exec", "nohup", "nice", "time", "timeout", "xargs"),
}
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_SEPARATORS = frozenset(";&|\n()")
_HIDING = ("`", "$(", "${", "<(", ">(")
Words = tuple[str, ...]


class Commands(msgspec.Struct, frozen=True):
    """Allow and deny patterns; made by `parse`, `meet`, or from a row."""

    allow: tuple[str, ...] | None = None
    """None: everything that is not denied; empty: nothing without asking."""
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.allow is not None:
            msgspec.structs.force_setattr(self, "allow", _canonical(self.allow))
        msgspec.structs.force_setattr(self, "deny", _canonical(self.deny))


def parse(
    allow: Iterable[str] | None = None, deny: Iterable[str] = (), *, path: str = "commands"
) -> Commands:
    """Patterns as somebody wrote them; raises InvalidParams."""
    allowed = None if allow is None else _parsed(allow, f"{path}.allow")
    return Commands(allowed, _parsed(deny, f"{path}.deny"))


def verdict(commands: Commands, line: str) -> Verdict:
    """What to do about this command line; defined for every text."""
    allow = None if commands.allow is None else {_words(each) for each in commands.allow}
    return _Rules(allow, {_words(each) for each in commands.deny}).judge(line)


def parts(line: str) -> list[str] | None:
    """The commands of a line, each in single blanks; None where it hides something, or is too long."""
    if len(line) > LINE_LENGTH_MAX:
        return None
    found, clear = _cut(line)
    plain = clear and all(_unassigned(part) == part and "$" not in part[0] for part in found)
    return [" ".join(part) for part in found] if plain else None


def readings(line: str, nested: int = _NESTED_MAX) -> Iterator[str]:
    """The line, and every command it may run: behind `;`, assignments or `sudo`, inside `sh -c '...'`."""
    yield line
    for part in _cut(line)[0] if len(line) <= LINE_LENGTH_MAX else ():
        found = list(_readings(_unassigned(part)))
        for words in found:
            yield " ".join(words)
            yield " ".join((_bare(words[0]), *words[1:]))
        for word in _inner(found) if nested else ():
            yield from readings(word, nested - 1)


def meet(one: Commands, other: Commands) -> Commands:
    """Allows what both allow, denies what either denies."""
    allow = one.allow if other.allow is None else other.allow
    if one.allow is not None and other.allow is not None:
        both = [each for each in one.allow if covers(other.allow, each)]
        allow = (*both, *(each for each in other.allow if covers(one.allow, each)))
    return Commands(allow, one.deny + other.deny)


def missing(parent: Commands, asked: Commands) -> list[str]:
    """The patterns asked for that `meet` does not allow, or not wholly."""
    barred = [each for each in parent.deny if not covers(asked.deny, each)]
    return [
        each
        for each in asked.allow or ()
        if (parent.allow is not None and not covers(parent.allow, each))
        or any(covers([no], each) or covers([each], no) for no in barred)
    ]


def covers(patterns: Iterable[str], pattern: str) -> bool:
    """Whether all that `pattern` matches is matched by one of them."""
    return _covered(_words(pattern), {_words(each) for each in patterns})


def _canonical(patterns: tuple[str, ...]) -> tuple[str, ...]:
    found = {_words(each) for each in patterns}
    return tuple(sorted(" ".join(words) for words in found if not _covered(words, found - {words})))


def _words(pattern: str) -> Words:
    return tuple(pattern.split())


def _covered(words: Words, patterns: AbstractSet[Words]) -> bool:
    """Whether a pattern, or the words of a command, lies at or below one of the patterns."""
    fixed = words[:-1] if words[-1:] == (ANY,) else words
    longest = min(len(fixed), max(map(len, patterns), default=0))
    wider = ((*fixed[:count], ANY) for count in range(longest + 1))
    return words in patterns or any(each in patterns for each in wider)


@dataclass(frozen=True)
class _Rules:
    """The patterns as words, cut once for a whole line."""

    allow: AbstractSet[Words] | None
    deny: AbstractSet[Words]

    def judge(self, line: str, nested: int = _NESTED_MAX) -> Verdict:
        if self.allow is None and not self.deny:
            return "allow"
        if len(line) > LINE_LENGTH_MAX:
            return "ask"
        parts, clear = _cut(line)
        if any(self._denies(part, nested) for part in parts):
            return "deny"
        return "allow" if clear and all(map(self._allows, parts)) else "ask"

    def _allows(self, part: Words) -> bool:
        if _unassigned(part) != part or "$" in part[0]:
            return False
        return self.allow is None or _covered(part, self.allow)

    def _denies(self, part: Words, nested: int) -> bool:
        found = list(_readings(_unassigned(part)))
        for words in found:
            if _covered(words, self.deny) or _covered((_bare(words[0]), *words[1:]), self.deny):
                return True
        inner = _inner(found) if nested else ()
        return any(self.judge(word, nested - 1) == "deny" for word in inner)


def _readings(words: Words) -> Iterator[Words]:
    """The command, and where it runs another one, each command that may be."""
    if words:
        yield words
        if _bare(words[0]) in _RUNNERS:
            yield from (words[at:] for at in range(1, min(len(words), _READINGS_MAX)))


def _inner(found: Iterable[Words]) -> Iterable[str]:
    """The words after a shell, which may be commands; each once, or a line of shells would take seconds."""
    shells = [words for words in found if _bare(words[0]) in _SHELLS]
    return dict.fromkeys(max(shells, key=len)[1:]) if shells else ()


def _cut(line: str) -> tuple[list[Words], bool]:
    """The line's commands, and whether that is all there is to it."""
    clear = not any(sign in line for sign in _HIDING) and "\0" not in line
    lexer = shlex.shlex(line.replace("\0", " "), posix=True, punctuation_chars=";&|\n()")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r\f\v", True, ""
    parts: list[list[str]] = [[]]
    try:
        for token in lexer:
            if token and _SEPARATORS.issuperset(token):
                parts.append([])
            else:
                parts[-1].append(token)
    except ValueError:  # an open quote, or a backslash at the end
        clear = False
        parts += [piece.split() for piece in line.splitlines()]
    return [tuple(words) for words in parts if words], clear


def _unassigned(words: Words) -> Words:
    at = 0
    while at < len(words) and words[at].partition("=")[0].isidentifier() and "=" in words[at]:
        at += 1
    return words[at:]


def _bare(word: str) -> str:
    return word.rpartition("/")[2]


def _parsed(patterns: Iterable[str], path: str) -> tuple[str, ...]:
    given = list(patterns)
    if len(given) > PATTERNS_MAX:
        raise InvalidParams(f"{len(given)} patterns, over {PATTERNS_MAX}", path=path)
    for at, pattern in enumerate(given):
        _check(pattern, f"{path}[{at}]")
    return tuple(given)


def _check(pattern: str, path: str) -> None:
    words = pattern.split()
    shown = ascii(pattern[:200])
    like = "write it like `git status` or `git push *`"
    if not words or len(pattern) > PATTERN_LENGTH_MAX:
        why = f"a pattern has 1 to {PATTERN_LENGTH_MAX} characters"
        raise InvalidParams(f"{shown} is no pattern: {why}", hint=like, path=path)
    if any(ANY in word for word in words[:-1]) or (ANY in words[-1] and words[-1] != ANY):
        why = "* stands for whole words, and comes last"
        raise InvalidParams(f"{shown} is no pattern: {why}", hint=like, path=path)
    if not pattern.isprintable() or not _SEPARATORS.isdisjoint(pattern) or any(s in pattern for s in _HIDING):
        why = "it is one command, without ; & | ( ) or line ends, and each is judged by itself"
        raise InvalidParams(f"{shown} is no pattern: {why}", hint=like, path=path)


EVERYTHING = Commands()
