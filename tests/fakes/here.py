"""Where there is nothing to choose from: what a test of rows claims by."""

from collections.abc import Collection

from dashd.domain.placement import Placed
from dashd.store.rows import Snapshot, SwarmRow, TaskRow


class Here:
    """See store.queue.Placing. Everything starts on this machine, as many of a driver as there are slots."""

    def full(self, _db: Snapshot) -> Collection[str]:
        return ()

    def choose(self, _db: Snapshot, _task: TaskRow, _seat: str, _swarm: SwarmRow) -> Placed | None:
        return None
