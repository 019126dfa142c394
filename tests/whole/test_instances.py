"""Places where Pis run, through the door of a real dashd; tests/fakes/pi.py is the program.

tests/live/test_pi.py has the real one.
"""

import os
import shutil
from pathlib import Path

import pytest
import trio

from tests.fakes import pi as fake_pi
from tests.whole.door import Door, Refused, open_door
from tests.whole.test_pi import CONFIGURED

pytestmark = pytest.mark.slow
S_MAX = 60.0
DIVIDED = {
    "DASH_PROGRAMS_PI_INSTANCES_MAX": "3",
    "DASH_PROGRAMS_PI_INSTANCE_SEATS": "2",
    "DASH_PROGRAMS_PI_IDLE_S": "1",
}


def _install(folder: Path, version: str) -> str:
    folder.mkdir()
    for name in ("pi.py", "pi_file.py"):
        shutil.copy(Path(fake_pi.__file__).with_name(name), folder)
    (folder / "VERSION").write_text(f"{version}\n")
    return str(folder / "pi.py")


@pytest.fixture
def another(tmp_path) -> str:
    """Another Pi, of another version, in a folder of its own."""
    return _install(tmp_path.resolve() / "next", "1.6.0")


@pytest.fixture
def work(tmp_path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


async def _swarm(dash: Door, task: str, folder: Path, **more) -> str:
    return (await dash.call("swarm.create", task=task, cwd=str(folder), **more))["id"]


async def _places(dash: Door, swarm: str, count: int = 1) -> list[str]:
    """Where attempts of a swarm were placed, once so many were."""
    found = await dash.events(swarm, "task.assigned", count)
    return [each["data"]["place"] for each in found]


async def _shown(dash: Door, name: str) -> dict:
    return await dash.call("instance.get", name=name)


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def _loads(dash: Door) -> dict[str, int]:
    return {each["name"]: each["load"] for each in (await dash.call("instance.list"))["instances"]}


async def test_where_nothing_was_added_there_is_one_place_of_all_agents(start_daemon, work, gate) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", work)
        assert await _places(dash, swarm) == ["local"]
        shown = await _shown(dash, "local")
        assert (shown["source"], shown["health"], shown["load"], shown["capacity"]) == (
            "auto-spawn",
            "alive",
            1,
            100,
        )
        assert shown["program"] == CONFIGURED["DASH_PROGRAMS_PI"]
        gate.let()
        assert (await dash.ended(swarm))["outcome"] == "complete"
        assert await _loads(dash) == {"local": 0}


async def test_another_pi_takes_work_and_keeps_it_over_a_kill_of_dashd(
    start_daemon, another, work, gate
) -> None:
    daemon = start_daemon(**CONFIGURED)
    task = f"do `echo x >> marks; read -r _ < {gate.path}`"
    async with open_door(daemon.socket) as dash:
        await dash.call("instance.add", name="next", program=another, capacity=2)
        found = await dash.call("instance.health", name="next")
        assert (found["ok"], found["version"]) == (True, "1.6.0"), found
        await dash.call("instance.drain", name="local")
        swarm = await _swarm(dash, task, work)
        assert await _places(dash, swarm) == ["next"]
        await dash.events(swarm, "agent.progress")
        agent = await dash.call("agent.get", agent=f"{swarm}-001")
        assert another in _command_line(agent["pid"])
        assert (agent["instance"], agent["gateway"]) == ("next", None)
        with pytest.raises(Refused) as refused:
            await dash.call("instance.remove", name="next")
        assert (refused.value.kind, "cannot be removed now" in str(refused.value)) == ("Conflict", True)
    daemon.kill()
    daemon.start()
    async with open_door(daemon.socket) as dash:
        assert await _loads(dash) == {"local": 0, "next": 1}
        gate.let()
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1), report
        assert (work / "marks").read_text() == "x\n"
        assert await _places(dash, swarm) == ["next"]
        assert (await dash.call("instance.remove", name="next"))["changed"]
        assert await _loads(dash) == {"local": 0}


async def test_a_swarm_may_ask_for_a_version_and_more(start_daemon, another, work) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await dash.call("instance.add", name="next", program=another, capabilities=["gpu"], region="eu")
        await dash.call("instance.health", name="next")
        for wanted, place in (
            ({"version": "1.6"}, "next"),
            ({"capabilities": ["gpu"], "region": "eu"}, "next"),
        ):
            swarm = await _swarm(dash, "do `true`", work, placement=wanted)
            assert await _places(dash, swarm) == [place]
            assert (await dash.ended(swarm))["outcome"] == "complete"
        assert (await _shown(dash, "local"))["version"] == "1.5.2"  # somebody wanted to know
        made = await dash.call("swarm.create", task="t", cwd=str(work), placement={"version": "1.7"})
        assert "local is of version 1.5.2; next is of version 1.6.0" in str(made["notes"])
        why = await dash.call("agent.why", agent=f"{made['id']}-001")
        assert why["waits_for"] == "place"


async def test_a_dead_one_finishes_what_it_has_and_gets_nothing_new(
    start_daemon, another, work, gate
) -> None:
    daemon = start_daemon(**CONFIGURED)
    async with open_door(daemon.socket) as dash:
        await dash.call("instance.drain", name="local")
        await dash.call("instance.add", name="next", program=another)
        first = await _swarm(dash, f"do `read -r _ < {gate.path}`", work)
        await dash.events(first, "agent.progress")
        os.rename(another, f"{another}.away")
        for health in ("unknown", "dead"):
            assert (await dash.call("instance.health", name="next"))["health"] == health
        second = await _swarm(dash, "do `echo hi`", work)
        with trio.move_on_after(0.5):
            await _places(dash, second)
            pytest.fail("it was placed")
        assert (await dash.call("task.list", swarm=second))["items"][0]["state"] == "ready"
        await dash.call("instance.drain", name="local", on=False)
        assert await _places(dash, second) == ["local"]
        gate.let()
        for swarm in (first, second):
            assert (await dash.ended(swarm))["outcome"] == "complete"


async def test_where_the_pi_that_dash_finds_goes_away_the_work_goes_on_elsewhere(
    start_daemon, another, tmp_path, work, gate
) -> None:
    """Not even an attempt is lost: what cannot start is given back, and its place looked at."""
    ours = _install(tmp_path.resolve() / "ours", "1.5.2")
    daemon = start_daemon(**CONFIGURED | {"DASH_PROGRAMS_PI": ours})
    async with open_door(daemon.socket) as dash:
        await dash.call("instance.add", name="next", program=another)
        await dash.call("instance.health", name="next")
        items = [f"`read -r _ < {gate.path}`", *["`echo x >> marks`"] * 3]
        swarm = await _swarm(dash, "do {item}", work, items=items, agents=1, limits={"retries": 0})
        assert await _places(dash, swarm) == ["local"]
        await dash.events(swarm, "agent.progress")
        shutil.rmtree(Path(ours).parent)
        gate.let()
        report = await dash.ended(swarm)
        assert (report["outcome"], report["failures"]) == ("complete", []), report
        assert (work / "marks").read_text() == "x\n" * 3
        assert (await _places(dash, swarm, 5))[-1] == "next"
        shown = await _shown(dash, "local")
        assert (shown["health"] != "alive", shown["why"]) == (
            True,
            f"programs.pi is set to {ours!r}, which is no program",
        )
        while not (alarms := await dash.call("event.list", kinds=["system.alert"], limit=9))["events"]:
            await dash.call("event.wait", kinds=["system.alert"], since=0, timeout_s=S_MAX)
        (alarm,) = alarms["events"]
        assert (alarm["data"]["instance"], alarm["data"]["health"]) == ("local", "dead")


async def test_an_added_pi_is_enough_where_dash_finds_none(start_daemon, another, work) -> None:
    daemon = start_daemon(**CONFIGURED | {"DASH_PROGRAMS_PI": ""})
    async with open_door(daemon.socket) as dash:
        with pytest.raises(Refused, match="driver pi needs pi"):
            await _swarm(dash, "do `true`", work, driver="pi")
        await dash.call("instance.add", name="next", program=another)
        await dash.call("instance.health", name="next")
        made = await dash.call("swarm.create", task="do `true`", cwd=str(work))
        assert (made["driver"], "places that run pi were added: next" in made["why_driver"]) == ("pi", True)
        named = await _swarm(dash, "do `true`", work, driver="pi")
        for swarm in (made["id"], named):
            assert await _places(dash, swarm) == ["next"]
            assert (await dash.ended(swarm))["outcome"] == "complete"


async def test_where_the_folder_of_programs_cannot_be_entered_dashd_goes_on(start_daemon, work) -> None:
    daemon = start_daemon()
    daemon.stop()
    (daemon.state / "programs").symlink_to("programs")  # as EACCES or EIO of it would be, for root too
    daemon.start()
    async with open_door(daemon.socket) as dash:
        seen = await dash.call("instance.health", name="local")
        assert (seen["ok"], "pi cannot be looked for" in seen["text"]) == (False, True)
        states = {each["name"]: each["state"] for each in (await dash.call("program.list"))["programs"]}
        assert states == {"node": "unusable", "pi": "unusable", "openclaw": "unusable"}
        with pytest.raises(Refused, match="cannot be looked for"):
            await _swarm(dash, "do `true`", work, driver="pi")
        assert (await dash.ended(await _swarm(dash, "do `true`", work)))["outcome"] == "complete"


async def test_settings_that_cannot_be_had_are_a_warning(start_daemon) -> None:
    most = {"DASH_PROGRAMS_PI_INSTANCES_MAX": "1000", "DASH_PROGRAMS_PI_INSTANCE_SEATS": "100"}
    async with open_door(start_daemon(**CONFIGURED, **most).socket) as dash:
        warnings = (await dash.call("daemon.status"))["warnings"]
        assert len([each for each in warnings if "programs.pi_instances_max is 1000, and" in each]) == 1
        assert "local" not in await _loads(dash), "divided as far as it goes"


async def test_its_own_seats_follow_the_work(start_daemon, work, gate) -> None:
    daemon = start_daemon(**CONFIGURED, **DIVIDED)
    async with open_door(daemon.socket) as dash:
        assert await _loads(dash) == {"local-1": 0}
        items = [str(number) for number in range(8)]
        swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", work, agents=8, items=items)
        places = await _places(dash, swarm, 6)
        assert sorted(places) == [f"local-{number}" for number in (1, 2, 3) for _ in range(2)]
        assert await _loads(dash) == {"local-1": 2, "local-2": 2, "local-3": 2}
        gate.let(8)
        assert (await dash.ended(swarm))["outcome"] == "complete"
        with trio.fail_after(S_MAX):
            since = 0
            while len(await _loads(dash)) > 1:
                found = await dash.call("event.wait", since=since, kinds=["system.config"], timeout_s=5)
                since = found["events"][-1]["seq"] if found["events"] else since
        told = await dash.call("event.list", kinds=["system.config"], limit=20)
        changes = [(each["data"]["change"], each["data"]["instances"]) for each in told["events"]]
        assert sorted(changes) == sorted([("up", 2), ("up", 3), ("down", 2), ("down", 1)])


async def test_of_its_own_seats_a_drained_one_takes_nothing_until_it_may_again(start_daemon, work) -> None:
    daemon = start_daemon(**CONFIGURED, **DIVIDED)
    async with open_door(daemon.socket) as dash:
        assert (await dash.call("instance.drain", name="local-1"))["changed"]
        first = await _swarm(dash, "do `true`", work, driver="pi")
        assert await _places(dash, first) == ["local-2"]
        assert (await dash.ended(first))["outcome"] == "complete"
        assert (await _shown(dash, "local-1"))["draining"]
        daemon.kill()
        daemon.start()
    async with open_door(daemon.socket) as dash:
        assert (await _shown(dash, "local-1"))["draining"]
        assert (await dash.call("instance.drain", name="local-1", on=False))["changed"]
        assert (await dash.call("instance.drain", name="local-2"))["changed"]
        again = await _swarm(dash, "do `true`", work, driver="pi")
        assert await _places(dash, again) == ["local-1"]
