"""Agents as processes: who starts them, who holds them while dashd is away, what is left on disk.

    dashd: launcher ──socketpair──▶ forkserver ──fork──▶ holder ──fork, exec──▶ agent
           holder_link ◀───── h.sock ─────▶ daemon_link ┘
           launch_folder, spool (reading) ◀── folder ──▶ holder_folder, spool (writing)

The fork server, the holder and all they import (agent_*, daemon_link, holder_folder, spool, processes) use
the standard library alone, so that the system Python runs them and a fork stays small; this file and
`dashd/__init__.py` must import nothing. A launch is a folder: `h.sock` (the holder's door), `begin` (born
locked by the holder, or recovery's tombstone; whoever creates it decides whether exec may happen), `spool`
(framed output) and `exit` (the record, by rename). The file is the truth, the socket only says it sooner.
Walls come in front of `argv` and change nothing here.
"""
