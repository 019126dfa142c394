"""Calls that wait: for a frozen provider, for a circuit, for money; and what ends each wait."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio

from dashd.proxy.registry import Provider as Configured
from tests.fakes.provider import MODEL, Provider, open_provider
from tests.proxy.world import HASTY, Said, World, ask, chat, open_world, request, until


async def call(world: World, **more: object) -> Said:
    return await ask(world.port, request(chat(**more)))  # type: ignore[arg-type]


async def _parked(world: World, change: Callable[[], Awaitable[None]]) -> Said:
    """The answer to a call that had to wait for p0, which is frozen, until something was changed."""
    world.registry.providers["p0"].frozen = "402"
    answers: list[Said] = []

    async def waits() -> None:
        answers.append(await call(world))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await until(lambda: world.registry.changes._next is not None)
        await change()
    return answers[0]


async def test_a_parked_call_waits_for_its_provider_to_be_thawed(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)

        async def thaw() -> None:
            assert provider.calls == 0
            world.registry.thaw("p0")
            await trio.lowlevel.checkpoint()

        assert (await _parked(world, thaw)).status == 200


async def test_a_parked_call_goes_where_its_agent_s_new_model_is(tmp_path: Path):
    """`agent.set_model` is what a person does about a frozen account."""
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)

        async def swap() -> None:
            world.door.callers()[0].model = "offline"
            world.registry.changes.ring()
            await trio.lowlevel.checkpoint()

        said = await _parked(world, swap)
        assert (said.status, said.json["model"]) == (200, "offline")
        assert provider.calls == 0
        assert world.registry.providers["p0"].frozen


async def test_a_parked_call_goes_to_a_provider_that_was_added(tmp_path: Path):
    async with (
        open_provider(Provider()) as broke,
        open_provider(Provider()) as other,
        open_world(tmp_path) as world,
    ):
        world.use(broke)

        async def add() -> None:
            world.registry.add(Configured("p1", "openai-chat", other.url, models=(MODEL,)))
            await trio.lowlevel.checkpoint()

        said = await _parked(world, add)
        assert (said.status, broke.calls, other.calls) == (200, 0, 1)


async def test_a_parked_call_waits_on_while_its_provider_is_taken_away_and_added_anew(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        registry = world.registry

        async def replace_it() -> None:
            gone = registry.providers.pop("p0")
            registry.changes.ring()
            await until(lambda: registry.changes._next is not None)
            registry.add(replace(gone, frozen=None))

        assert (await _parked(world, replace_it)).status == 200
        assert provider.calls == 1


async def test_a_call_that_pauses_for_a_circuit_sees_its_agent_s_new_model(tmp_path: Path):
    async with (
        open_provider(Provider()) as provider,
        open_world(tmp_path, patience=replace(HASTY, retry_s=60)) as world,
    ):
        world.use(provider)
        for _ in range(3):
            world.registry.providers["p0"].circuit.failed(trio.current_time())
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await until(lambda: world.registry.changes._next is not None)
            world.door.callers()[0].model = "offline"
            world.registry.changes.ring()
        assert answers[0].json["model"] == "offline"
        assert trio.current_time() - began < world.registry.providers["p0"].circuit.open_s
