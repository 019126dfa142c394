"""What is in the audit of a tunnel: before a byte passes, at its end, and where it was refused."""

import json
from pathlib import Path

import pytest

from dashd.proxy.tunnel import TunnelRecord
from dashd.proxy.tunnel_records import TunnelRecords
from dashd.store import audit
from tests.proxy.world import open_world

AGENT = "abc123-001"


def record(how: str, *, address: str | None = "93.184.215.14", why: str = "", size: int = 0) -> TunnelRecord:
    return TunnelRecord(AGENT, "a.example", 443, address, size, 2 * size, how, why)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "action", "data"),
    [
        (record("open"), "tunnel.opened", {"address": "93.184.215.14"}),
        (
            record("closed", size=5),
            "tunnel.ended",
            {"address": "93.184.215.14", "bytes_up": 5, "bytes_down": 10, "how": "closed"},
        ),
        (
            record("idle"),
            "tunnel.ended",
            {"address": "93.184.215.14", "bytes_up": 0, "bytes_down": 0, "how": "idle"},
        ),
        (record("refused", address=None, why="host"), "tunnel.refused", {"refused": "host"}),
    ],
)
async def test_each_is_a_row(tmp_path: Path, made: TunnelRecord, action: str, data: dict) -> None:
    async with open_world(tmp_path) as world:
        await TunnelRecords(world.store).note(made)
        (link,) = await world.store.reader.read(lambda db: audit.after(db, 0, 10))
    assert (link.actor, link.action, link.subject) == ("dashd", action, AGENT)
    assert json.loads(link.data) == {"host": "a.example", "port": 443, **data}


async def test_what_has_passed_is_counted_from_them(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        records = TunnelRecords(world.store)
        for made in (record("open"), record("closed", size=5), record("reset", size=7), record("refused")):
            await records.note(made)
        count = world.store.reader.read
        assert await count(lambda db: audit.tunnelled_bytes(db, AGENT)) == 36
        assert await count(lambda db: audit.tunnelled_bytes(db, "abc123-002")) == 0
