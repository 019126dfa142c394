"""What an attempt prints, on its way into rows: read by the piece, committed with the offset it was read to.

Progress is written at most once a second, the newest replacing the older; a crash replays from the last
committed offset, which is never inside a message.
"""

import logging
from typing import Any

import trio

from dashd import threads
from dashd.drivers.driver import OutputReader, Progress
from dashd.jail import spool
from dashd.store import attempts, tasks
from dashd.store.queue import Claim
from dashd.store.transaction import Tx

from .world import World

log = logging.getLogger(__name__)

PERIOD_S = 1.0
PIECE_BYTES_MAX = 1 << 20


class Output:
    """The spool of one attempt and how far it has been read."""

    def __init__(
        self,
        world: World,
        claim: Claim,
        launch_id: str,
        reader: OutputReader,
        offset: int,
        *,
        replay: bool = False,
    ) -> None:
        """`offset` is how far it was read before; with `replay` the reader is fed from the beginning all the
        same, and what it says of what was read before is passed over.
        """
        self._world = world
        self._claim = claim
        self._launch_id = launch_id
        self._reader = reader
        self._offset = 0 if replay else offset
        self._known_offset = self._safe_offset = offset
        self.heard_bytes = 0
        """Of what was printed; all that there is of it where it was fed from the beginning."""
        self._newest: Progress | None = None
        self._fresh = trio.Event()

    async def grew(self, spool_bytes: int) -> None:
        """Reads on up to where the holder says the spool goes."""
        folder = self._world.folder(self._launch_id)
        while self._offset < spool_bytes:
            try:
                records, offset = await threads.run(spool.read, folder, self._offset, PIECE_BYTES_MAX)
            except spool.SpoolCorrupt:  # its own doing, or the disk's: it reports nothing more
                log.warning("an output file is damaged", extra={"launch": self._launch_id})
                break
            except OSError as error:  # when there is more of it, it is tried again
                log.warning("output of %s cannot be read: %s", self._launch_id, error.strerror)
                break
            if not records:
                break
            self._take(records, offset)
        self._world.growth.ring(self._launch_id)

    def has_read(self, spool_bytes: int) -> bool:
        """Up to there."""
        return self._offset >= spool_bytes

    def hear(self, line: bytes) -> None:
        """Takes in what no spool has for it: an attempt in a gateway prints nothing of its own."""
        for progress in self._reader.feed(1, line):
            self._newest = progress
            self._fresh.set()

    async def publish(self) -> None:
        """Writes progress down as it comes, at most once a period, until cancelled."""
        while True:
            await self._fresh.wait()
            await self._write()
            await trio.sleep(PERIOD_S)

    async def finish(self) -> None:
        """Writes down what has not been written yet."""
        if self._newest is not None:
            await self._write()

    def _take(self, records: list[tuple[int, bytes]], offset: int) -> None:
        for stream, payload in records:
            self.heard_bytes += len(payload)
            for progress in self._reader.feed(stream, payload):
                if offset > self._known_offset:
                    self._newest = progress
                    self._fresh.set()
        self._offset = offset
        if not self._reader.pending:
            self._safe_offset = max(self._safe_offset, offset)

    async def _write(self) -> None:
        progress, self._fresh = self._newest, trio.Event()
        if progress is not None:
            self._world.points.at("output.before_commit")
            await self._world.commit(lambda tx: self._commit(tx, progress))
            self._world.points.at("output.after_commit")
            if self._newest is progress:  # not before: cancelled up to here, `finish` writes it
                self._newest = None

    def _commit(self, tx: Tx, progress: Progress) -> None:
        tasks.set_progress(tx, self._claim.task_id, progress.done, progress.total, progress.note)
        attempts.set_spool_offset(tx, self._launch_id, self._safe_offset)
        data: dict[str, Any] = {"note": progress.note} if progress.note else {}
        if progress.done is not None:
            data |= {"done": progress.done, "total": progress.total}
        claim = self._claim
        tx.emit("agent.progress", swarm=claim.swarm_id, agent=claim.agent_id, task=claim.task_id, data=data)
