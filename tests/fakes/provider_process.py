"""The scripted provider as a process of its own, which outlives daemons and keeps its bill on disk.

`python -m tests.fakes.provider_process BILL DATABASE SCRIPT SEED` prints its port and serves until it is
ended. BILL gets one JSON line a call, before a byte of its answer leaves: who called (the first word of what
was said), what it costs, and what dashd's database held for that caller at that instant.
"""

import contextlib
import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import trio

from tests.fakes.provider import Act, Provider, Script, open_provider

_q_held = "SELECT coalesce(sum(held_nusd), 0) FROM hold WHERE budget_id = ? AND state = 'open'"


def wild(chance: random.Random) -> Act:
    """Anything a provider may do, within what the request allows."""
    status = chance.choices([200, 429, 500, 529, 400, 402, 404], [60, 1, 1, 1, 1, 0.3, 1])[0]
    return Act(
        status=status,
        input_share=chance.choice([chance.random(), 1.0]),
        output_share=chance.choice([0.0, 0.05, 0.05, 0.3, 1.0]),
        usage=chance.choice(["once"] * 6 + ["twice", "none"]),
        cut_at=chance.choice([None] * 11 + [chance.randrange(1, 1_500)]),
        stall_at=chance.choice([None] * 30 + [chance.randrange(0, 1_200)]),
        delay_s=chance.choice([0.0, 0.0, 0.01, 0.05]),
        retry_after="0.01" if status == 429 else None,
        bills=chance.random() < 0.5 if status >= 500 else None,
        dearest=chance.random() < 0.5,
    )


def honest(_chance: random.Random) -> Act:
    """A short answer at once."""
    return Act()


SCRIPTS: dict[str, Callable[[random.Random], Act]] = {"wild": wild, "honest": honest}


def payer(body: dict[str, Any]) -> str:
    """The first word of the first message."""
    said = body.get("input") or body["messages"][0]["content"]
    return str(said).partition(" ")[0]


class Bill:
    """The provider's own book."""

    def __init__(self, path: Path, database: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._database = database
        self._db: apsw.Connection | None = None

    def write(self, body: dict[str, Any], nusd: int) -> None:
        """One call."""
        who = payer(body)
        line = {"payer": who, "nusd": nusd, "held": self._held(who), "at": time.monotonic()}
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    def _held(self, who: str) -> int | None:
        with contextlib.suppress(apsw.BusyError, apsw.CantOpenError):
            if self._db is None:
                self._db = apsw.Connection(str(self._database), flags=apsw.SQLITE_OPEN_READONLY)
            return next(iter(self._db.execute(_q_held, (who,))))[0]
        return None


async def main(bill: Path, database: Path, script: str, seed: int) -> None:
    """Serves until ended."""
    chance = random.Random(seed)
    decide: Script = functools.cache(lambda _number: SCRIPTS[script](chance))
    provider = Provider(decide)
    if str(bill) != os.devnull:
        provider.on_bill = Bill(bill, database).write
    async with open_provider(provider):
        print(provider.port, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
