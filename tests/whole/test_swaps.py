"""A swapped model and a lowered price, through a real dashd: they free an agent's call that is held."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fakes import dashd_of_callers, door_keeper
from tests.fakes.provider import MODEL, Provider
from tests.proxy.world import Said
from tests.whole import daemons
from tests.whole.test_outages import Behind, behind

pytestmark = pytest.mark.slow

PROGRAM = dashd_of_callers.argv(Path(door_keeper.__file__), hasty=False)
DEAR = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 400.0}
CHEAP = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """The dashd of this module."""
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("p"), PROGRAM)
    try:
        made.start()
        yield made
    finally:
        made.end()


async def _freed(place: Behind, method: str, **params: Any) -> Said:
    """The answer to a call that the agent's spent budget keeps out until something is called."""
    await place.dash.call("model.set", model=MODEL, **DEAR)
    await place.dash.call("budget.set", budget=place.swarm, limit_usd=0.01)
    said: list[Said] = []

    async def call() -> None:
        said.append(await place.call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await place.told("swarm.paused")
        assert said == []
        await place.dash.call(method, **params)
    return said[0]


async def test_a_cheaper_model_frees_the_call_that_has_paused_its_swarm(patient, tmp_path):
    provider = Provider()
    async with behind(patient, tmp_path, [provider]) as agent:
        said = await _freed(agent, "agent.set_model", agent=f"{agent.swarm}-001", model="offline")
        assert (said.status, said.json["model"], provider.calls) == (200, "offline", 0)
        assert len(await agent.told("swarm.resumed")) == len(await agent.told("swarm.paused")) == 1


async def test_a_lower_price_frees_the_call_that_has_paused_its_swarm(patient, tmp_path):
    provider = Provider()
    async with behind(patient, tmp_path, [provider]) as agent:
        said = await _freed(agent, "model.set", model=MODEL, **CHEAP)
        assert (said.status, provider.calls) == (200, 1)
        assert len(await agent.told("swarm.resumed")) == len(await agent.told("swarm.paused")) == 1
