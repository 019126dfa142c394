"""Every live attempt in one nursery. An attempt's end never touches another; a bug here ends the daemon.

Cancelling the supervisor detaches: holders keep their agents for their leases. Ending an agent is always an
explicit request to its holder.
"""

import trio

from dashd.store import attempts
from dashd.store.queue import Claim

from .attach import Attached
from .run import Run, prepare_all
from .world import World


class Supervisor:
    """Starts runs and tells them what is wanted."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        """`nursery` is the runtime ring's; whoever opened it ends every run by cancelling it."""
        self._world = world
        self._nursery = nursery
        self._runs: dict[str, Run] = {}
        self._fresh: list[Run] = []
        """Claimed, and their rows not read yet."""

    def start(self, claim: Claim) -> None:
        """Takes up a fresh claim, together with those that come in the same step."""
        # Registered before its rows are read, so that no wish falls between.
        run = self._runs[claim.attempt_id] = Run(self._world, claim)
        if not self._fresh:
            self._nursery.start_soon(self._start_fresh)
        self._fresh.append(run)

    def resume(self, run: Run, attached: Attached | None) -> None:
        """Goes on with an attempt that recovery has looked at; None where its holder has not answered."""
        self._nursery.start_soon(self._serve, run, attached, name=f"run {run.claim.attempt_id}")

    async def watch_wishes(self) -> None:
        """Reads what is wanted whenever somebody has changed it, until cancelled."""
        while True:
            ticket = self._world.store.bells.agents.ticket()
            found = await self._world.store.own.read(attempts.wishes)
            for attempt_id, stop, hold, hard, waits, said in found:
                if run := self._runs.get(attempt_id):
                    told = {"hold": bool(hold), "hard": bool(hard), "waits": bool(waits)}
                    run.wish.set(stop=stop, messages=said, **told)  # type: ignore[arg-type]
            await ticket.wait()

    async def _start_fresh(self) -> None:
        runs, self._fresh = self._fresh, []
        try:
            await prepare_all(self._world, runs)
        except BaseException:
            for run in runs:
                del self._runs[run.claim.attempt_id]
            raise
        for run in runs:
            self._nursery.start_soon(self._start, run, name=f"run {run.claim.attempt_id}")

    async def _start(self, run: Run) -> None:
        try:
            attached = await run.launch()
        except BaseException:
            run.give_way()
            del self._runs[run.claim.attempt_id]
            raise
        await self._serve(run, attached)

    async def _serve(self, run: Run, attached: Attached | None) -> None:
        self._runs[run.claim.attempt_id] = run
        try:
            await run.serve(attached)
        finally:
            run.give_way()
            del self._runs[run.claim.attempt_id]
