"""Agents as processes: who starts them, who holds them while dashd is away, what is left on disk.

    dashd: launcher ──socketpair──▶ forkserver ──fork──▶ holder ──fork, exec──▶ agent
           holder_link ◀───── h.sock ─────▶ daemon_link ┘
           launch_folder, spool (reading) ◀── folder ──▶ holder_folder, spool (writing)

The fork server, the holder and all they import (agent_*, daemon_link, holder_folder, spool, processes) use
the standard library alone, so that the system Python runs them and a fork stays small; this file and
`dashd/__init__.py` must import nothing. A launch is a folder: `h.sock` (the holder's door), `begin` (born
locked by the holder, or recovery's tombstone; whoever creates it decides whether exec may happen), `spool`
(framed output) and `exit` (the record, by rename). The file is the truth, the socket only says it sooner.

Walls stand in front of the agent's program and change nothing of this: `launch` makes a plan from a `view`,
`agent_jail` opens its folders by inode, and what is executed is bubblewrap, then `stage`, then the agent.
`probe` finds out which walls a machine can build by building them, `selftest` looks for a way out before the
agent begins, `cgroup` has the kernel hold memory and processes where `cgroup_tree` found that it can,
`watchdog` holds what only a daemon can count, `links` looks for hard links that lead out.
`tool` runs git and gates behind the same walls, each held by a `leash` that ends it when dashd is gone.
"""
