"""Every live attempt in one nursery. An attempt's end never touches its neighbours; a bug here ends the daemon.

Cancelling the supervisor detaches: holders keep their agents for their leases. Ending an agent is always an
explicit request to its holder.
"""

import trio

from dashd.store import attempts
from dashd.store.queue import Claim

from .run import Attached, Run
from .world import World


class Supervisor:
    """Starts runs and tells them what is wanted."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        """`nursery` is the runtime ring's; whoever opened it ends every run by cancelling it."""
        self._world = world
        self._nursery = nursery
        self._runs: dict[str, Run] = {}

    def start(self, claim: Claim) -> None:
        """Takes up a fresh claim."""
        self._nursery.start_soon(self._start, Run(self._world, claim), name=f"run {claim.attempt_id}")

    def resume(self, run: Run, attached: Attached) -> None:
        """Goes on with an attempt that recovery has looked at."""
        self._nursery.start_soon(self._serve, run, attached, name=f"run {run.claim.attempt_id}")

    async def watch_wishes(self) -> None:
        """Reads what is wanted whenever somebody has changed it, until cancelled."""
        while True:
            ticket = self._world.store.bells.agents.ticket()
            for attempt_id, stop, wanted, swarm_state in await self._world.store.reader.read(attempts.wishes):
                if run := self._runs.get(attempt_id):
                    run.wish.set(stop=stop, hold=wanted == "pause" or swarm_state == "paused")  # type: ignore[arg-type]
            await ticket.wait()

    async def _start(self, run: Run) -> None:
        # Registered before its rows are read, so that no wish falls between.
        self._runs[run.claim.attempt_id] = run
        try:
            await run.prepare()
            attached = await run.launch()
        except BaseException:
            del self._runs[run.claim.attempt_id]
            raise
        await self._serve(run, attached)

    async def _serve(self, run: Run, attached: Attached) -> None:
        self._runs[run.claim.attempt_id] = run
        try:
            await run.serve(attached)
        finally:
            del self._runs[run.claim.attempt_id]
