"""Processes as /proc shows them. Only what the kernel says counts here, not what Dash says."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import trio

SETTLE_S_MAX = 15.0
LOOK_S = 0.005
"""Between two looks at /proc."""


def tree(root: int) -> set[int]:
    """A process and all its descendants."""
    found, queue = set(), [root]
    while queue:
        pid = queue.pop()
        found.add(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += [int(child) for child in (task / "children").read_text().split()]
    return found


def of_agent(pid: int) -> set[int]:
    """What an agent started, orphans included: all that its holder has below it."""
    return tree(parent(pid)) - {parent(pid)}


def parent(pid: int) -> int:
    return int(_fields(pid)[1])


def state(pid: int) -> str:
    """R, S, T, … as in proc(5); empty where there is no such process, or only a zombie is left."""
    with contextlib.suppress(OSError):
        return _fields(pid)[0].replace("Z", "")
    return ""


async def settled(pids: Iterable[int], wanted: str) -> None:
    """Returns once each process is in one of these states; `""` means gone."""
    pids = list(pids)
    if not await _until(lambda: all(state(pid) in (wanted or [""]) for pid in pids)):
        raise AssertionError({pid: state(pid) for pid in pids})


async def grown(pid: int, count: int) -> set[int]:
    """What an agent started, once that is `count` processes; all of one look, so that none is missed."""
    found: set[int] = set()

    def look() -> bool:
        found.clear()
        found.update(of_agent(pid))
        return len(found) >= count

    assert await _until(look), found
    return found


async def _until(true: Callable[[], bool]) -> bool:
    with trio.move_on_after(SETTLE_S_MAX):
        while not true():  # noqa: ASYNC110  # /proc rings no bell
            await trio.sleep(LOOK_S)
        return True
    return False


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
