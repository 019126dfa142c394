"""A key says who speaks; one that is not known says nothing, and both are on record."""

import dataclasses

import pytest

from dashd.service import speaking
from dashd.service.core import Caller
from dashd.store import audit
from dashd.wire import errors
from tests.fakes.ports import FakeKeys

STRANGER = Caller("operator", 7)


async def test_a_key_names_its_actor(core):
    core = dataclasses.replace(core, keys=FakeKeys())
    known = await speaking.introduce(core, STRANGER, "mcp", "good")
    assert known == Caller("orchestrator", 7, "mcp", "claude", "proof of claude")
    (row,) = audit.after(core.store.db, 0, 9)
    assert row[2:6] == ("orchestrator:claude", "auth.key", "claude", '{"client":"mcp","uid":7}')


@pytest.mark.parametrize("key", ["bad-canary", "good "])
async def test_another_one_is_refused_and_never_written_down(core, key):
    core = dataclasses.replace(core, keys=FakeKeys())
    with pytest.raises(errors.Unauthorized, match="not known"):
        await speaking.introduce(core, STRANGER, "mcp", key)
    (row,) = audit.after(core.store.db, 0, 9)
    assert (row.actor, row.action) == ("operator:uid-7", "auth.refused")
    assert key not in "".join(map(str, row))


async def test_a_daemon_without_keys_knows_none(core):
    with pytest.raises(errors.Unauthorized):
        await speaking.introduce(core, STRANGER, "mcp", "good")
