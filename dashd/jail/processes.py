"""Processes seen through /proc: who they are, who descends from whom, ending what a dead holder left.

A pid alone never addresses a signal: it goes through a pidfd, after the start time was compared once more.
Standard library only and no dataclasses: fork server and holder import this too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SIGNAL_ROUNDS_MAX = 100
END_S_MAX = 5.0
END_WAIT_S = 1.0
_MARK = b"DASH_LAUNCH="


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: [0] state, [1] parent, [3] session, [19] start time.

    OSError if the process is gone.
    """
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # open() is far dearer in a fresh fork
    try:
        return os.read(fd, 4096).rpartition(b")")[2].decode().split()
    finally:
        os.close(fd)


def start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; None if it is gone. With pid and boot id it is unique."""
    try:
        return int(stat_fields(pid)[19])
    except OSError:
        return None


def boot_id() -> str:
    """This boot's random id: pids and start times of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _family() -> Callable[[int], list[int]]:
    """How to ask for somebody's children: the kernel's list, or else one look at every process."""
    if os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return children
    family: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                family.setdefault(int(stat_fields(int(entry))[1]), []).append(int(entry))
    return lambda pid: family.get(pid, [])


def children(pid: int) -> list[int]:
    """Living and dead children of `pid`. One born or ended meanwhile may be missed: walk until stable."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def descendants(root: int) -> dict[int, int]:
    """Every living descendant of `root`, parents first: pid to start time."""
    tree: dict[int, int] = {}
    of = _family()
    queue = of(root)
    for pid in queue:  # grows while it is walked
        with contextlib.suppress(OSError):
            fields = stat_fields(pid)
            if fields[0] not in "ZX" and pid not in tree:
                tree[pid] = int(fields[19])
        queue += of(pid)
    return tree


def send_signal(pid: int, started: int, *numbers: int) -> bool:
    """Signals a process only if it is still the one that started then; False if it is not, or we may not."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_time(pid) != started:
            return False
        for number in numbers:
            signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def signal_tree(*numbers: int, spared: tuple[int, ...] = (), root: int | None = None) -> int:
    """Signals all descendants of this process until a walk finds nobody new; returns how many it found.

    Those whose pid is `spared` are walked and not signalled. `root` is another process to begin below.

    A fork cannot complete in a process with a pending signal, so after SIGSTOP a stable walk is a stopped
    tree.
    """
    seen: dict[int, int] = {}
    for _ in range(SIGNAL_ROUNDS_MAX):
        tree = descendants(os.getpid() if root is None else root)
        new = {pid: started for pid, started in tree.items() if seen.get(pid) != started}
        if not new:
            break
        for pid, started in new.items():
            if pid not in spared:
                send_signal(pid, started, *numbers)
        seen |= new
    return len(seen)


def end_tree(root: int) -> None:
    """Ends all descendants of `root`; stopped first, so that none of them forks on meanwhile."""
    signal_tree(signal.SIGSTOP, root=root)
    signal_tree(signal.SIGKILL, root=root)


def is_tree_stopped() -> bool:
    """Whether no descendant of this process runs, or would after what the kernel is doing for it."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if stat_fields(pid)[0] not in "TtDZX":
                return False
    return True


class Seen:
    """One living process of this uid, as one look at /proc shows it."""

    def __init__(self, pid: int, started: int, session: int, mark: bytes | None) -> None:
        self.pid, self.started, self.session, self.mark = pid, started, session, mark


def _look() -> list[Seen]:
    """Every living process of this uid but this one. An environment that cannot be read is no mark."""
    seen: list[Seen] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{entry}").st_uid != os.getuid():
                continue
            fields = stat_fields(int(entry))
            if fields[0] not in "ZX":
                seen.append(Seen(int(entry), int(fields[19]), int(fields[3]), _mark(entry)))
    return seen


def _mark(entry: str) -> bytes | None:
    """The launch id in a process's environment, as it was at its last exec."""
    try:
        with open(f"/proc/{entry}/environ", "rb") as file:
            marks = [line.removeprefix(_MARK) for line in file.read().split(b"\0") if line.startswith(_MARK)]
    except OSError:
        return None
    return marks[0] if marks else None


def _left_of(launch_ids: Collection[bytes], agents: dict[int, int], seen: list[Seen]) -> list[Seen]:
    """The processes that carry one of the marks, and those in a session that is an agent's.

    A session cannot be joined, only inherited, so it is ours if an agent leads or led it: one of `agents`
    (pid to start time), or a marked process. A leader that is alive and is neither makes the session
    somebody else's.
    """
    marked = [process for process in seen if process.mark in launch_ids]
    leaders = {process.pid: process for process in seen if process.pid == process.session}
    ours = {process.session for process in marked}
    ours |= {pid for pid, started in agents.items() if pid not in leaders or leaders[pid].started == started}
    for session in list(ours):
        leader = leaders.get(session)
        if leader and leader not in marked and agents.get(session) != leader.started:
            ours.remove(session)
    own = os.getsid(0)
    return [p for p in seen if p in marked or (p.session in ours and p.session != own)]


def end_all_marked(launch_ids: Collection[str], agents: dict[int, int] | None = None) -> int:
    """Ends what is left of launches whose holders are dead, and waits until it is gone. One scan serves all.

    Ends every living process of this uid with `DASH_LAUNCH=<id>` in its environment or in a session of
    theirs or of `agents` (pid to start time, as `launch_folder.Lost.agent` has it), until two scans find
    nobody. Returns how many were ended. Blocking, at most END_S_MAX, then TimeoutError: some survive
    SIGKILL.

    What can escape without a PID namespace: a process that replaced its environment (or hid it: another
    uid, PR_SET_DUMPABLE 0) *and* left the agent's session. Never touched: other uids, this process and its
    session, and a pid that was reused. A program started by hand with the mark in its environment is taken
    for ours.
    """
    ids = {os.fsencode(launch_id) for launch_id in launch_ids}
    ended: set[tuple[int, int]] = set()
    give_up_at, empty_scans = time.monotonic() + END_S_MAX, 0
    while empty_scans < 2:  # a process in the middle of exec shows no environment for an instant
        left = _left_of(ids, agents or {}, _look())
        empty_scans = 0 if left else empty_scans + 1
        ended |= {(process.pid, process.started) for process in left if _end(process)}
        if left and time.monotonic() > give_up_at:
            raise TimeoutError(f"pids {[process.pid for process in left]} of {launch_ids} survive SIGKILL")
    return len(ended)


def end_marked(launch_id: str, agent: tuple[int, int] | None = None) -> int:
    """`end_all_marked` for one launch; `agent` is its (pid, start time) if known."""
    return end_all_marked([launch_id], dict([agent]) if agent else None)


def _end(process: Seen) -> bool:
    """Kills a process if it is still the one that was seen, and waits for its end; False if it was not."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if start_time(process.pid) != process.started:
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        select.select([fd], [], [], END_WAIT_S)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
