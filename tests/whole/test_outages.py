"""What providers do wrong, through a real dashd with little patience, as an agent at its listener sees it."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fakes import dashd_of_callers, door_keeper
from tests.fakes.provider import MODEL, Act, Provider, open_provider
from tests.proxy.world import Said, ask, chat, request
from tests.whole import daemons, door

pytestmark = pytest.mark.slow

DOWN = Act(status=500, bills=False)
BROKE = Act(status=429, error={"type": "insufficient_quota", "message": "You exceeded your current quota"})
PROGRAM = dashd_of_callers.argv(Path(door_keeper.__file__), hasty=True)


@dataclass
class Behind:
    """An agent's place: its dashd, its way to a model, and the providers."""

    dash: door.Door
    swarm: str
    port: int
    key: str
    cursor: int

    async def call(self, **more: Any) -> Said:
        return await ask(self.port, request(chat(**more), key=self.key))

    async def tries(self) -> list[tuple[str, str]]:
        """(provider, basis) of every try."""
        rows = (await self.dash.call("budget.export", swarm=self.swarm))["rows"]
        return [(row["provider"], row["basis"]) for row in rows]

    async def told(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """What events of this kind say."""
        return [event["data"] for event in await self.dash.events(self.swarm, kind, count, since=self.cursor)]

    async def circuits(self) -> dict[str, str]:
        listed = (await self.dash.call("provider.list"))["providers"]
        return {each["name"]: "frozen" if each["frozen"] else each["circuit"] for each in listed}

    async def until(self, provider: str, state: str) -> None:
        """Until a provider has come into a state, which rings no bell; `behind` has the deadline."""
        while (await self.circuits())[provider] != state:  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """The dashd of this module."""
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("h"), PROGRAM)
    try:
        made.start()
        yield made
    finally:
        made.end()


@contextlib.asynccontextmanager
async def behind(
    daemon: daemons.DaemonProcess, folder: Path, providers: Sequence[Provider]
) -> AsyncIterator[Behind]:
    """An agent that may call `p0`, `p1`, … in this order; the providers go with it."""
    with trio.fail_after(30):
        async with contextlib.AsyncExitStack() as stack:
            for provider in providers:
                await stack.enter_async_context(open_provider(provider))
            dash = await stack.enter_async_context(door.open_door(daemon.socket))
            for number, provider in enumerate(providers):
                given = {"name": f"p{number}", "format": "openai-chat", "url": provider.url}
                await dash.call("provider.add", **given, models=[MODEL])
            await dash.call("model.set", model=MODEL, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
            told = folder / "told"
            made = await dash.call(
                "swarm.create", task="t", items=[str(told)], driver="embedded", model=MODEL, cwd=str(folder)
            )
            await dash.events(made["id"], "agent.progress")
            way = json.loads(told.read_text())
            port = int(way["model_url"].split(":")[2].split("/")[0])
            try:
                yield Behind(dash, made["id"], port, way["model_key"], made["cursor"])
            finally:
                for number in range(len(providers)):
                    await dash.call("provider.remove", name=f"p{number}")
                await dash.call("swarm.destroy", swarm=made["id"])
                await dash.ended(made["id"])


async def test_slow_down_is_obeyed(hasty, tmp_path):
    at: list[float] = []

    async def note() -> None:
        at.append(trio.current_time())

    provider = Provider(lambda n: Act() if n else Act(status=429, retry_after="0.8"))
    provider.on_call = note
    async with behind(hasty, tmp_path, [provider]) as agent:
        assert (await agent.call(stream=True)).status == 200
        assert at[1] - at[0] >= 0.8
        assert await agent.tries() == [("p0", "rejected"), ("p0", "usage")]
        assert await agent.circuits() == {"p0": "closed"}


async def test_a_fault_is_retried_and_each_try_is_a_hold_of_its_own(hasty, tmp_path):
    provider = Provider(lambda n: Act() if n > 1 else Act(status=503, bills=True))
    async with behind(hasty, tmp_path, [provider]) as agent:
        assert (await agent.call()).status == 200
        assert await agent.tries() == [("p0", "worst-case"), ("p0", "worst-case"), ("p0", "usage")]
        node = (await agent.dash.call("budget.status", budget=agent.swarm))["budget"]
        assert provider.bill_nusd <= round(node["spent_usd"] * 1e9)
        assert node["held_usd"] == 0


async def test_a_stalled_stream_is_cut_in_band_and_not_tried_again(hasty, tmp_path):
    provider = Provider(lambda _: Act(stall_at=400))
    async with behind(hasty, tmp_path, [provider]) as agent:
        said = await agent.call(stream=True)
        assert (said.status, said.whole) == (200, True)
        assert b"stalled" in said.body.rpartition(b"data: ")[2]
        assert provider.calls == 1
        assert await agent.tries() == [("p0", "worst-case")]


async def test_a_silent_provider_is_left_for_the_next_one(hasty, tmp_path):
    silent, other = Provider(lambda _: Act(stall_at=0)), Provider()
    async with behind(hasty, tmp_path, [silent, other]) as agent:
        assert (await agent.call(stream=True)).status == 200
        assert await agent.tries() == [("p0", "worst-case"), ("p1", "usage")]


async def test_along_a_chain_and_back_when_the_first_answers_again(hasty, tmp_path):
    """Open at the third failure in a row; skipped while open; half-open lets one call probe; then closed."""
    down, gone, last = Provider(lambda _: DOWN), Provider(), Provider()
    async with behind(hasty, tmp_path, [down, gone, last]) as agent:
        await agent.dash.call(
            "provider.add", name="p1", format="openai-chat", url="http://127.0.0.1:9/v1", models=[MODEL]
        )
        while (await agent.circuits())["p0"] != "open":
            await agent.call()
        assert (await agent.call()).status == 200
        assert last.calls >= 1
        told = await agent.told("model.failover")
        assert told[0]["to"] in (f"p1/{MODEL}", f"p2/{MODEL}")
        assert (await agent.told("circuit.opened"))[0]["provider"] == "p0"
        calls, down.script = down.calls, lambda _: Act(delay_s=0.2)
        await agent.until("p0", "half-open")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(agent.call)
        assert down.calls == calls + 1
        assert (await agent.circuits())["p0"] == "closed"
        assert [each["provider"] for each in await agent.told("circuit.closed")] == ["p0"]
        assert (await agent.call()).status == 200
        assert down.calls == calls + 2


async def test_an_account_at_its_end_is_frozen_and_calls_wait_for_it(hasty, tmp_path):
    provider = Provider(lambda n: Act() if n else BROKE)
    async with behind(hasty, tmp_path, [provider]) as agent:
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await agent.call())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await agent.until("p0", "frozen")
            nursery.start_soon(waits)
            assert (provider.calls, answers) == (1, [])
            assert (await agent.dash.call("provider.test", name="p0"))["ok"]
        assert [each.status for each in answers] == [200, 200]
        assert await agent.tries() == [("p0", "rejected"), ("p0", "usage"), ("p0", "usage")]


async def test_an_account_at_its_end_leaves_the_others_to_work(hasty, tmp_path):
    broke, other = Provider(lambda _: BROKE), Provider()
    async with behind(hasty, tmp_path, [broke, other]) as agent:
        assert [(await agent.call()).status for _ in range(3)] == [200] * 3
        assert (broke.calls, other.calls) == (1, 3)
        assert await agent.circuits() == {"p0": "frozen", "p1": "closed"}
