"""Whom a key names, and when it does no longer; the fake and the real ones keep one contract."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from dashd.service import speaking
from dashd.service.core import Caller
from dashd.service.ports import Keys
from dashd.service.speakers import Speakers
from dashd.store import access_keys
from dashd.wire import errors
from tests.fakes.ports import FakeKeys


class Given(NamedTuple):
    """Keys of an orchestrator `claude` and an operator `anna`, and how one is revoked."""

    keys: Keys
    claude: str
    anna: str
    revoke: Callable[[str], Awaitable[Any]]


@pytest.fixture
def core(core):
    """With real keys, which `call` takes as well."""
    return dataclasses.replace(core, keys=Speakers(core.store, core.clock))


@pytest.fixture(params=["fake", "real"])
async def given(request, core, call) -> Given:
    if request.param == "fake":
        keys = FakeKeys()

        async def forget(name: str) -> None:
            keys.revoke(name)

        return Given(keys, "good", "key-anna", forget)
    claude = await call("key.create", name="claude", kind="orchestrator")
    anna = await call("key.create", name="anna", kind="operator")

    async def revoke(name: str) -> None:
        await call("key.revoke", key=name)

    return Given(core.keys, claude.secret, anna.secret, revoke)


async def test_the_contract_of_keys(given):
    claude, anna = await given.keys.identify(given.claude), await given.keys.identify(given.anna)
    assert (claude.name, claude.actor, anna.name, anna.actor) == (
        "claude",
        "orchestrator",
        "anna",
        "operator",
    )
    for unknown in ("", "bad", given.claude + " ", claude.proof):
        assert await given.keys.identify(unknown) is None
    assert given.keys.stands(claude.proof)
    assert not given.keys.stands("")
    assert not given.keys.stands(given.claude)
    await given.revoke("claude")
    assert not given.keys.stands(claude.proof)
    assert given.keys.stands(anna.proof)
    assert await given.keys.identify(given.claude) is None
    await given.keys.follow()
    assert not given.keys.stands(claude.proof)
    assert given.keys.stands(anna.proof)


async def test_a_name_given_again_opens_nothing_for_the_one_before(core, call):
    first = await call("key.create", name="claude", kind="orchestrator")
    before = await core.keys.identify(first.secret)
    await call("key.revoke", key="claude")
    second = await call("key.create", name="claude", kind="operator")
    assert not core.keys.stands(before.proof)
    assert (await core.keys.identify(second.secret)).actor == "operator"


async def test_a_rotation_ends_what_the_secret_before_had_opened(core, call, clock):
    made = await call("key.create", name="claude", kind="orchestrator")
    turned = await call("key.rotate", key="claude", grace_s=10)
    before, after = await core.keys.identify(made.secret), await core.keys.identify(turned.secret)
    assert before.name == after.name
    clock.advance(10_000)
    assert not core.keys.stands(before.proof)
    assert core.keys.stands(after.proof)
    last = await call("key.rotate", key="claude")
    assert not core.keys.stands(after.proof)
    assert core.keys.stands((await core.keys.identify(last.secret)).proof)


async def test_an_expired_key_stands_no_more(core, call, clock):
    made = await call("key.create", name="claude", kind="orchestrator", expires_in_s=60)
    speaker = await core.keys.identify(made.secret)
    clock.advance(59_999)
    assert core.keys.stands(speaker.proof)
    clock.advance(1)
    assert not core.keys.stands(speaker.proof)
    assert await core.keys.identify(made.secret) is None


async def test_a_key_for_model_calls_says_nothing_of_who_calls(core, call):
    made = await call("key.create", name="editor")
    assert await core.keys.identify(made.secret) is None


async def test_a_restart_knows_them_from_the_rows(core, call):
    made = await call("key.create", name="anna", kind="operator")
    again = Speakers(core.store, core.clock)
    assert await again.identify(made.secret) is None
    await again.follow()
    assert (await again.identify(made.secret)).name == "anna"


async def test_a_use_is_noted_and_the_proof_is_in_no_log(core, call, scene):
    made = await call("key.create", name="anna", kind="operator")
    known = await speaking.introduce(core, Caller("operator", 7), "dashctl", made.secret)
    assert known.who == "operator:anna"
    assert known.proof
    assert known.proof not in repr(known)
    assert access_keys.get(scene.db, "anna").last_used_at_ms is not None
    await call("key.revoke", key="anna")
    with pytest.raises(errors.Unauthorized):
        await speaking.introduce(core, Caller("operator", 7), "dashctl", made.secret)
