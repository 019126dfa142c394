"""Which driver is taken where nobody names one: that of what is begun from, else the usual one."""

import dataclasses

import pytest

from dashd.domain.ids import task_id
from dashd.store import sessions, swarms
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from tests.fakes.ports import FakeDrivers, driver_abilities
from tests.fakes.scene import SWARM


class Several(FakeDrivers):
    """Those of a daemon that has `usual`, and takes it where nobody names another."""

    usual = "openclaw"

    async def choose(self, name, *, has_argv):
        return name or ("command" if has_argv else self.usual), "it was asked for" if name else "it is here"

    def abilities(self, name):
        return driver_abilities("soft", True, keeps_session=name in ("openclaw", "pi"))

    def remarks(self, name, argv):
        return []


@pytest.fixture
def drivers():
    return Several()


@pytest.fixture
def core(core, drivers):
    return dataclasses.replace(core, drivers=drivers)


@pytest.mark.parametrize("usual", ["openclaw", "pi"])
async def test_a_session_is_made_of_the_driver_of_a_swarm_which_begins_in_it(
    call, core, scene, drivers, usual
) -> None:
    drivers.usual = usual
    made = await call("session.create", name="one", cwd="/")
    assert made.driver == usual
    begun = await call("swarm.create", task="t", cwd="/", begin_from="one")
    assert begun.driver == usual


@pytest.mark.parametrize("verb", ["swarm.create", "agent.spawn"])
async def test_what_begins_in_one_of_another_driver_has_that(call, scene, verb) -> None:
    await call("session.create", name="one", cwd="/", driver="pi")
    made = await call(verb, task="t", cwd="/", begin_from="one")
    row = swarms.get(scene.db, getattr(made, "swarm", made.id))
    assert (row.driver, row.why_driver) == ("pi", "no driver was named, and one is of pi")
    await call("session.create", name="two", cwd="/", driver="pi")
    with pytest.raises(errors.Unsupported, match="is of pi, and openclaw cannot begin in it"):
        await call(verb, task="t", cwd="/", begin_from="two", driver="openclaw")


async def test_what_begins_from_a_checkpoint_has_its_driver_in_plan_and_dry_run_too(call, scene) -> None:
    scene.swarm("a", driver="pi")
    (claim,) = scene.claim()
    scene.start(claim)

    def operation(tx):
        sessions.opened(tx, claim.attempt_id, scene.attempt(claim), SWARM, "pi")
        sessions.keep(tx, CheckpointRow("c-1", claim.attempt_id, "named", "", "n", 1, 10, 0), 1_000)

    scene.do(operation)
    asked = {"task": "t", "cwd": "/", "begin_from": "c-1"}
    assert (await call("swarm.plan", **asked)).driver == "pi"
    dry = await call("swarm.create", **asked, dry_run=True)
    assert (dry.driver, dry.why_driver) == ("pi", "no driver was named, and c-1 is of pi")
    made = await call("swarm.create", **asked)
    assert (made.driver, sessions.seed(scene.db, task_id(made.id, 1))) == ("pi", "c-1")


async def test_one_that_is_not_there_is_said_and_a_command_is_a_command(call, scene) -> None:
    with pytest.raises(errors.NotFound, match="no checkpoint 'nothing'"):
        await call("swarm.create", task="t", cwd="/", begin_from="nothing")
    await call("session.create", name="one", cwd="/")
    with pytest.raises(errors.Unsupported, match="command cannot begin in it"):
        await call("swarm.create", task="t", cwd="/", argv=["true"], begin_from="one")


async def test_without_a_program_that_keeps_any_none_is_made(call, drivers) -> None:
    drivers.usual = "embedded"
    with pytest.raises(
        errors.Unsupported, match="no program that keeps sessions can run here: it is here"
    ) as no:
        await call("session.create", name="one", cwd="/")
    assert "dashctl program install openclaw, or pi; session create --driver openclaw or pi" in no.value.hint
    with pytest.raises(errors.Unsupported, match="driver command keeps no session"):
        await call("session.create", name="one", cwd="/", driver="command")


@pytest.mark.parametrize(
    ("asked", "driver", "away"),
    [
        ({"mode": "gateway", "unsafe_no_jail": True}, "openclaw", True),
        ({"mode": "gateway", "unsafe_no_jail": True, "driver": "openclaw"}, "openclaw", True),
        ({"unsafe_no_jail": True}, "pi", False),
        ({"driver": "openclaw"}, "openclaw", False),
    ],
)
async def test_of_gateways_that_were_added_nothing_need_be_here(
    call, core, drivers, asked, driver, away
) -> None:
    drivers.usual = "pi"
    made = await call("swarm.create", task="t", cwd="/", **asked)
    assert (made.driver, drivers.checked[-1][0], drivers.away[-1]) == (driver, driver, away)
    if away and "driver" not in asked:
        assert made.why_driver == "no driver was named, and gateways that were added run openclaw"
    await call("swarm.plan", task="t", cwd="/", **asked)
    assert (drivers.checked[-1][0], drivers.away) == (driver, [away, away])
