"""The demo from its first line to its last: a swarm, an outage, a cap, a kill half-way, a report, and nothing
left behind.

Nothing is slept for: each step begins with what the one before was seen to have done. Everything lives inside
one temporary folder and one deadline; SIGINT, SIGTERM and SIGHUP end it early and just as cleanly.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path

import trio

from dashctl import calling
from dashctl.demo import journal, leftovers, money, play, private_daemon, repository, screen, walls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Any

    from dashctl.demo.cast import Cast
    from dashctl.terminal import Output


def tell(
    out: Output, environ: Mapping[str, str], part: Cast, *, agents: int, keep: bool, lines_per_s: float
) -> int:
    """Plays the story and gives the exit code. Raises calling.Failure where it broke off."""
    began, show = time.monotonic(), screen.Screen(out)
    with _folder(keep=keep) as folder:
        budget = f"${agents * part.agent_usd:.2f}"
        grade = walls.grade(private_daemon.private(environ, folder))
        who = "" if part.driver == "embedded" else f" ({part.driver})"
        show.title(f"{agents} agents{who}, {walls.told(grade)}, {budget}, an outage and a kill -9.")
        telling = play.Play(folder, environ, show, lines_per_s, part)
        interrupted = _run(telling, agents)
        if interrupted:
            show.stopped(folder if keep else None)
            return 128 + interrupted
        figures = journal.count(journal.read(folder / play.JOURNAL), telling.told.items)
        account = telling.told.money(figures.worked_on)
        problems = judge(figures, account, telling.told)
        if out.as_json:
            out.data(
                {"swarm": telling.told.swarm, **shown(figures, telling.told.report), **account.figures()}
            )
        show.account(telling.told.report, figures, telling.told.calls, telling.told.adopted)
        show.money(account)
    show.verdict(problems, folder if keep else None, time.monotonic() - began)
    return 1 if problems else 0


def shown(figures: journal.Figures, report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that `--json` prints, but for the money. What no agent has done with is failed where Dash
    says so, and lost where it does not.
    """
    failed = figures.unfinished & journal.given_up(dict(report))
    return {
        "agents": figures.agents,
        "completed": figures.completed,
        "failed": len(failed),
        "lost": len(figures.unfinished - failed),
        "duplicated": figures.duplicated,
        "restarts": figures.restarts,
        "duration_s": figures.duration_s,
    }


def judge(figures: journal.Figures, account: money.Money, told: play.Told) -> list[str]:
    """What did not come true; journal and bill decide, and what Dash says must agree with them."""
    count = len(told.items)
    right = {"agents": count, "completed": count - 1, "failed": 1, "lost": 0, "duplicated": 0, "restarts": 1}
    found = shown(figures, told.report)
    wrong = [f"{name} is {found[name]}, not {each}" for name, each in right.items() if found[name] != each]
    for what, items, item in (
        ("unfinished", figures.unfinished, repository.GREEDY),
        ("not to compile", figures.broken, repository.BROKEN),
    ):
        if items != {item}:
            wrong.append(f"the journal has {', '.join(sorted(items)) or 'nothing'} as {what}, not {item}")
    wrong += money.faults(account, figures.worked_on.get(repository.GREEDY))
    return wrong + journal.disagreements(figures, told.report)


def _run(telling: play.Play, agents: int) -> int:
    """The number of the signal that ended the play early, or 0. Raises calling.Failure, never in a group."""
    try:
        return trio.run(_until_signal, telling, agents)
    except BaseExceptionGroup as group:
        failures, rest = group.split(calling.Failure)
        if failures is None or rest is not None:
            raise
        raise _first(failures) from None
    except KeyboardInterrupt:  # a second Ctrl-C, while the first one was obeyed
        return signal.SIGINT


async def _until_signal(telling: play.Play, agents: int) -> int:
    received = 0

    async def watch(signals: AsyncIterator[int]) -> None:
        nonlocal received
        async for number in signals:
            received = received or number
            nursery.cancel_scope.cancel(reason=signal.Signals(number).name)

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, signals)
            with trio.move_on_after(telling.part.story_s_max) as patience:
                await telling.tell(agents)
            if patience.cancelled_caught:
                raise calling.Failure(
                    f"the demo was not over after {telling.part.story_s_max:.0f} s",
                    hint="dashctl demo --keep keeps its logs",
                )
            nursery.cancel_scope.cancel(reason="the story is told")
    return received


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """The demo's own folder; at the end no process of it is left, and with `keep` the folder alone is."""
    folder = Path(tempfile.mkdtemp(prefix="dash-demo-")).resolve()
    try:
        yield folder
    finally:
        try:
            leftovers.end(folder)
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
