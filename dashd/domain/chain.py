"""The chain of the audit: each row's hash covers the one before it, so nothing in between can be changed.

What a chain cannot show by itself is that its end was cut off; for that somebody keeps a head (`seq:hash`).
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

GENESIS = "0" * 64
"""What the first row seals."""


class Head(NamedTuple):
    """The last row of a chain; seq 0 where it has none."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class Link(NamedTuple):
    """One row, as it is stored."""

    seq: int
    at_ms: int
    actor: str
    action: str
    subject: str
    data: str
    prev: str
    hash: str


class Fault(NamedTuple):
    """The first row that is not what it was."""

    seq: int
    why: str


def seal(prev: str, seq: int, at_ms: int, actor: str, action: str, subject: str, data: str) -> str:
    """The hash of a row; its fields hold no newline, so no two rows have the same text."""
    text = "\n".join((prev, str(seq), str(at_ms), actor, action, subject, data))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def walk(links: Iterable[Link], head: Head) -> tuple[Head, Fault | None]:
    """Follows the chain on from `head`: (how far it holds, the first row where it does not)."""
    for link in links:
        if link.seq != head.seq + 1:
            return head, Fault(head.seq + 1, f"row {head.seq + 1} is missing; the next one is {link.seq}")
        if link.prev != head.hash:
            return head, Fault(link.seq, f"row {link.seq} does not follow row {head.seq} as it is now")
        if link.hash != seal(link.prev, *link[:6]):
            return head, Fault(link.seq, f"row {link.seq} was changed")
        head = Head(link.seq, link.hash)
    return head, None


def read_head(text: str) -> Head | None:
    """The head that `str` wrote; None where the text is none."""
    seq, colon, digest = text.strip().partition(":")
    if not colon or not seq.isascii() or not seq.isdecimal() or len(seq) > 18:
        return None
    digest = digest.lower()
    return Head(int(seq), digest) if len(digest) == 64 and not set(digest) - set("0123456789abcdef") else None
