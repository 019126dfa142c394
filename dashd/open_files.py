"""How many files and sockets this process may have open.

The soft limit that a login or systemd gives (1,024) is for programs that use select(). dashd serves up to 64
connections of each agent and keeps a held call's for days, so it takes what the hard limit allows, up to what
its most agents can use. What it starts in a jail gets a limit of the jail's.
"""

import resource

FILES_MAX = 65_536
"""1,000 agents (`daemon.agents_max`) with 64 connections each, and room for the rest."""


def usable(soft: int, hard: int) -> int:
    """The limit that dashd has, started under these."""
    infinity = resource.RLIM_INFINITY
    if soft == infinity:
        return soft
    return max(soft, FILES_MAX if hard == infinity else min(hard, FILES_MAX))


def take() -> int:
    """Raises the soft limit, as far as it may be, and gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = usable(soft, hard)
    if raised != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
