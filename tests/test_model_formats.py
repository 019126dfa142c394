"""Models in a format that not every program speaks: who is refused, who is left out, what a program keeps."""

import dataclasses
from pathlib import Path

import pytest

from dashd.domain.speech import FormatName, Speaks
from dashd.model_ports import ModelPort
from dashd.service.core import Core
from dashd.service.ports import DriverAbilities
from dashd.store import agents
from dashd.wire import errors
from tests.fakes.ports import driver_abilities
from tests.test_model_ports import ADD, PRICE, URL, World

CLAUDE = {"name": "two", "format": "anthropic", "url": URL, "models": ["claude-x"]}
CHATTY, LEARNED = Speaks("driver chatty speaks", ("openai-chat",)), Speaks("it", ("openai-chat", "anthropic"))


async def test_a_model_in_another_format_than_its_program_speaks_is_refused(
    core: Core, tmp_path: Path
) -> None:
    world = World(core, tmp_path)
    for given, model in ((ADD, "m-1"), (CLAUDE, "claude-x")):
        await world("provider.add", **given)
        await world("model.set", model=model, **PRICE)
    models = world.core.models
    with pytest.raises(errors.InvalidParams) as refused:
        await models.choose("claude-x", CHATTY)
    said = "driver chatty speaks openai-chat, and 'claude-x' is served in the format anthropic"
    assert (refused.value.message, refused.value.path) == (said, "model")
    assert refused.value.hint.startswith("models that it can call: m-1; ")
    assert (await models.choose("claude-x", LEARNED)).format == "anthropic"
    assert (await models.choose("claude-x")).left_out == ()
    offer = await models.choose("claude-x -> m-1", CHATTY)
    assert (offer.name, offer.format, offer.left_out) == ("m-1", "openai-chat", ("two/claude-x",))
    for text in ("{}", '{"prefer":"cost","fallback_allowed":false}'):
        assert (await models.choose(text, CHATTY)).name == "m-1"
    await world("provider.remove", name="one")
    assert (await models.choose(None, LEARNED)).name == "claude-x"
    assert (await models.choose(None, CHATTY)).name == "offline"


async def test_a_program_that_runs_keeps_its_format(core: Core, tmp_path: Path, scene) -> None:
    world = World(core, tmp_path)
    spoken: list[FormatName | None] = ["anthropic"]

    class Drivers:
        def abilities(self, _name: str) -> DriverAbilities:
            return driver_abilities("soft", False, needs_model=True, formats=LEARNED.formats)

    async def told(_agent_id: str) -> FormatName | None:
        return spoken[0]

    async def swap(_agent_id: str) -> None:
        return

    for given, model in ((ADD, "m-1"), (CLAUDE, "claude-x")):
        await world("provider.add", **given)
        await world("model.set", model=model, **PRICE)
    models = ModelPort(world.registry, swap, spoken=told)
    world.core = dataclasses.replace(world.core, drivers=Drivers(), models=models)
    (seat,) = agents.open_seats(scene.db, scene.swarm("a.py"))
    scene.do(lambda tx: tx.execute("UPDATE swarm SET model = 'm-1'"))
    await world("agent.set_model", agent=seat.id, model="claude-x")
    for model in ("m-1", None):  # its swarm's own is no exception
        with pytest.raises(
            errors.InvalidParams, match=f"what agent {seat.id} runs speaks, until it ends, ant"
        ):
            await world("agent.set_model", agent=seat.id, model=model)
    assert agents.get(scene.db, seat.id).model == "claude-x"
    spoken[0] = None  # now it runs nothing
    assert (await world("agent.set_model", agent=seat.id, model="m-1")).first == "m-1"
    assert (await world("agent.set_model", agent=seat.id, model=None)).first == "m-1"
