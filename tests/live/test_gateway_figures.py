"""Twenty warm agents in a gateway: runs of one call through Dash, held against a client that talks to a
gateway of its own with nothing in between. Ratios count, since others may work here too.
"""

import statistics
import time
from datetime import datetime
from pathlib import Path

import pytest
import trio

from dashd.domain import brief
from dashd.drivers.openclaw_gateway import Seat
from dashd.drivers.programs import Programs
from tests.fakes.provider import MODEL, Provider
from tests.live.direct_gateway import Direct, open_direct
from tests.live.scenes import DONE, Scene, scene
from tests.live.stepping import item_of

pytestmark = [pytest.mark.live, pytest.mark.timeout(0)]

AGENTS = 20
RUNS = 3
"""Of each agent; one before them does not count, in which everybody runs for the first time."""
ALONE = 8
"""Runs of one agent, one after the other, that nobody else disturbs."""
WITHIN_S = 1_500.0
RATIO_MAX, START_RATIO_MAX, START_S_MAX = 1.25, 1.25, 0.5
"""What is asserted; the goal of 1.1 is shown. A start may also take as long as the goal says."""
TASK = "do it"


class Answers(Provider):
    """Every run is one call. Those whose item begins with `first` are answered once all of these have come:
    then everybody is warm.
    """

    def __init__(self) -> None:
        super().__init__(lambda _number: DONE)
        self.on_call = self._note
        self.called_at: dict[str, float] = {}
        """By item, by the wall clock."""
        self.first: dict[str, trio.Event] = {}
        """By side."""
        self.warm_at: dict[str, float] = {}

    async def _note(self) -> None:
        item = item_of(self.bodies[-1])
        self.called_at[item] = time.time()
        kind, side, _ = item.split("-")
        if kind != "first":
            return
        if sum(each.startswith(f"first-{side}-") for each in self.called_at) == AGENTS:
            self.warm_at[side] = time.time()
            self.first[side].set()
        await self.first.setdefault(side, trio.Event()).wait()


def items_of(side: str) -> list[list[str]]:
    """Of each round."""
    firsts = [f"first-{side}-{each}" for each in range(AGENTS)]
    return [firsts, *([f"next-{side}-{number}.{each}" for each in range(AGENTS)] for number in range(RUNS))]


def alone_of(side: str) -> list[str]:
    return [f"alone-{side}-{number}" for number in range(ALONE)]


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


async def _through_dash(there: Scene, model: Answers) -> float:
    """How long all runs took from when everybody was warm, by the events of their ends."""
    model.first["dash"] = trio.Event()
    items = [item for each in items_of("dash") for item in each]
    swarm = await there.swarm(TASK, mode="gateway", agents=AGENTS, items=items, limits={"retries": 0})
    report = await there.dash.ended(swarm)
    assert report["tasks"]["completed"] == len(items), report
    ended = await there.dash.events(swarm, "task.completed", len(items))
    return max(_seconds(event["at"]) for event in ended) - model.warm_at["dash"]


async def _starts_through_dash(there: Scene, model: Answers) -> list[float]:
    """From when its task was given to an agent until its model is called, each alone in the gateway."""
    items = alone_of("dash")
    swarm = await there.swarm(TASK, mode="gateway", agents=1, items=items, limits={"retries": 0})
    await there.ended(swarm)
    assigned = {event["task"]: _seconds(event["at"]) for event in
                await there.dash.events(swarm, "task.assigned", len(items))}  # fmt: skip
    tasks = {task["item"]: task["id"] for task in (await there.dash.call("task.list", swarm=swarm))["items"]}
    return [model.called_at[item] - assigned[tasks[item]] for item in items[1:]]


async def _run(direct: Direct, agent: str, item: str, folder: Path) -> None:
    said = brief.compose(task=TASK, item=item, folder=str(folder), write=[str(folder)], earlier=())
    await direct.run(agent, item, said)


async def _directly(direct: Direct, model: Answers, folder: Path, side: str) -> float:
    """The same as `_through_dash`."""
    model.first[side] = trio.Event()

    async def works(number: int) -> None:
        for each in items_of(side):
            await _run(direct, f"a{number:02d}", each[number], folder)

    async with trio.open_nursery() as nursery:
        for number in range(AGENTS):
            nursery.start_soon(works, number)
    return time.time() - model.warm_at[side]


async def _starts_directly(direct: Direct, model: Answers, folder: Path) -> list[float]:
    found = []
    for item in alone_of("direct"):
        began = time.time()
        await _run(direct, "a00", item, folder)
        found.append(model.called_at[item] - began)
    return found[1:]


async def test_runs_of_one_call_take_as_long_as_without_dash(
    start_daemon, openclaw_environ, programs: Programs, tmp_path, capsys
) -> None:
    model = Answers()
    folder, own = tmp_path / "work", tmp_path / "direct"
    folder.mkdir()
    own.mkdir()
    daemon = start_daemon(**openclaw_environ)
    async with scene(daemon, folder, model, driver="openclaw", within_s=WITHIN_S) as there:
        seats = [Seat(f"a{each:02d}", model.url, f"key{each}", MODEL, str(folder)) for each in range(AGENTS)]
        async with open_direct(programs, own, seats, WITHIN_S) as direct:
            before = await _directly(direct, model, folder, "direct")
            dash = await _through_dash(there, model)
            after = await _directly(direct, model, folder, "again")
            starts = await _starts_directly(direct, model, folder)
        started = await _starts_through_dash(there, model)
    ratio = dash / statistics.mean((before, after))
    with capsys.disabled():
        runs = AGENTS * RUNS
        print(f"\ngateway: {runs} runs of one call by {AGENTS} warm agents: Dash {dash:.1f} s,"
              f" direct {before:.1f} s and {after:.1f} s, ratio {ratio:.2f}")  # fmt: skip
        print(f"gateway: session start p50, Dash {statistics.median(started):.2f} s,"
              f" direct {statistics.median(starts):.2f} s")  # fmt: skip
    assert ratio <= RATIO_MAX
    assert statistics.median(started) <= max(START_S_MAX, START_RATIO_MAX * statistics.median(starts))
