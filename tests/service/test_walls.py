"""What a swarm asks of its walls: read, refused where it could not be kept, said in the answer, shown."""

import dataclasses

import pytest

from dashd.service import ports
from dashd.wire import errors
from tests.fakes.ports import driver_abilities


class FakeWalls:
    """See ports.Walls; `refusal` is raised by `check`."""

    def __init__(self, grade="B", grade_min="B", required=True) -> None:
        self.found = ports.WallsState(
            grade, grade_min, required, why="bubblewrap is missing", fix="install it"
        )
        self.checked: list[list[str]] = []
        self.refusal: BaseException | None = None

    async def state(self) -> ports.WallsState:
        return self.found

    async def check(self, write, read) -> None:
        self.checked.append([*write, *read])
        if self.refusal:
            raise self.refusal

    def enforcers(self, grade, bounds, shown) -> dict[str, tuple[str, str]]:
        return {"memory": (bounds, "watchdog")} if grade != "0" else {}


@pytest.fixture
def walls():
    return FakeWalls()


@pytest.fixture
def core(core, walls):
    return dataclasses.replace(core, walls=walls)


async def test_a_swarm_gets_walls_and_is_told_which(call, walls, tmp_path):
    made = await call("swarm.create", task="t", cwd=str(tmp_path), scope=["src/"], read=["/usr/share/doc"])
    assert made.notes[-1] == (
        f"walls of grade B: agents can write {tmp_path}/src, read {tmp_path}, and reach no host"
    )
    got = await call("swarm.get", swarm=made.id)
    assert (got.walls, got.write, got.read, got.hosts) == ("required", ["src"], [".", "/usr/share/doc"], [])
    assert walls.checked == [[f"{tmp_path}/src", str(tmp_path), "/usr/share/doc"]]


async def test_by_default_the_folder_itself_is_its_scope(call, walls, tmp_path):
    made = await call("swarm.create", task="t", cwd=str(tmp_path), hosts=["npm"])
    got = await call("swarm.get", swarm=made.id)
    assert (got.write, got.read) == (["."], ["."])
    assert any(host.endswith("npmjs.org") for host in got.hosts)


async def test_walls_that_are_too_weak_are_refused_with_the_remedy(call, walls, scene):
    walls.found = dataclasses.replace(walls.found, grade="C")
    with pytest.raises(errors.Unsupported, match="grade B, and this machine gives C: bubblewrap") as refused:
        await call("swarm.create", task="t")
    assert refused.value.hint.startswith("install it; or dashd with DASH_JAIL_GRADE_MIN=C, or unsafe_no_jail")
    assert scene.events() == []


async def test_a_mac_s_walls_are_not_offered_as_a_lower_grade(call, walls):
    walls.found = dataclasses.replace(walls.found, grade="M")
    with pytest.raises(errors.Unsupported, match="this machine gives M") as refused:
        await call("swarm.create", task="t")
    assert "GRADE_MIN" not in refused.value.hint


async def test_no_walls_is_said_recorded_and_shown(call, walls):
    walls.found = dataclasses.replace(walls.found, grade="0")
    made = await call("swarm.create", task="t", unsafe_no_jail=True)
    assert made.notes[-1] == "no walls: its agents have all your rights"
    assert (await call("swarm.get", swarm=made.id)).walls == "none"


@pytest.mark.parametrize("limit", ["scope", "read", "hosts"])
async def test_a_limit_that_nothing_would_keep_is_refused(call, limit):
    with pytest.raises(errors.InvalidParams, match="limits nothing without walls") as refused:
        await call("swarm.create", task="t", unsafe_no_jail=True, **{limit: ["a.example"]})
    assert refused.value.path == limit


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"scope": ["../x"]}, "scope.write[0]"),
        ({"scope": ["src/*.py"]}, "scope.write[0]"),
        ({"hosts": ["*.example.com"]}, "scope.hosts[0]"),
    ],
)
async def test_what_walls_cannot_express_is_refused(call, params, path):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("swarm.create", task="t", **params)
    assert refused.value.path == path


async def test_a_folder_that_may_not_be_given_leaves_nothing(call, walls, scene):
    walls.refusal = errors.InvalidParams("it is your home", hint="another", path="cwd")
    with pytest.raises(errors.InvalidParams):
        await call("swarm.create", task="t")
    with pytest.raises(errors.InvalidParams):
        await call("swarm.plan", task="t")
    assert scene.events() == []


async def test_limits_come_back_as_they_were_asked_for(call):
    limits = {"timeout_s": 5.0, "memory_mb": 100, "cpu_s": 9}
    made = await call("swarm.create", task="t", limits=limits)
    got = (await call("swarm.get", swarm=made.id)).limits
    assert (got.timeout_s, got.memory_mb, got.cpu_s, got.processes) == (5.0, 100, 9, 512)


@pytest.mark.parametrize(("asks", "says"), [(True, "ask first; this is guidance"), (False, "keeps nothing")])
async def test_whether_anybody_asks_is_said_where_commands_are_ruled(core, call, monkeypatch, asks, says):
    can = driver_abilities("hard", message=False, asks=asks)
    monkeypatch.setattr(core.drivers, "abilities", lambda _: can)
    made = await call("swarm.create", task="t", deny_commands=["rm *"])
    assert says in made.notes[-1]
    assert not any("ask" in note for note in (await call("swarm.create", task="t")).notes)
    found = await call("agent.get", agent=f"{made.id}-001")
    assert found.command_policy == ("asked" if asks else "not_asked")
