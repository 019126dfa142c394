"""Which start of an added gateway an agent works in, and which of its names there.

An agent is called after the gateway's start. Where nothing of that agent works any more before the next start
(its database there was shut), it gets another name for what it does next: the start is then written down with
how often that was, `boot~1`, so that the rows know the name of each session.
"""

MARK = "~"


def of(boot_id: str, renewed: int) -> str:
    """The start with the agent's name in it, as it is written down."""
    return f"{boot_id}{MARK}{renewed}" if renewed else boot_id


def is_in(written: str, boot_id: str) -> bool:
    """Whether this is that start, under whatever name."""
    return written == boot_id or written.startswith(boot_id + MARK)


def count(written: str, boot_id: str) -> int:
    """How often the agent had been given another name in this start."""
    digits = written.removeprefix(boot_id + MARK)
    return int(digits) if digits.isdecimal() and is_in(written, boot_id) else 0
