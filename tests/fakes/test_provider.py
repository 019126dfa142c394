"""The scripted provider: what it says it used is what it bills, in every format, up to the whole hold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.provider import MODEL, Act, Provider, open_provider
from tests.proxy.world import HASTY, ask, open_world, request

FORMATS = {
    "openai-chat": ("/v1/chat/completions", "messages", "max_tokens"),
    "openai-responses": ("/v1/responses", "input", "max_output_tokens"),
    "anthropic": ("/v1/messages", "messages", "max_tokens"),
}
MOST = Act(input_share=1.0, output_share=1.0, dearest=True)


def body(form: str, *, stream: bool) -> bytes:
    _, said, limit = FORMATS[form]
    return json.dumps(
        {"model": MODEL, "stream": stream, limit: 300, said: [{"role": "user", "content": "hi " * 200}]}
    ).encode()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("act", [Act(), MOST, replace(MOST, usage="twice")], ids=["some", "most", "twice"])
async def test_it_bills_what_it_says(tmp_path: Path, form: str, stream: bool, act: Act):
    billed: list[int] = []
    provider = Provider(lambda _: act)
    provider.on_bill = lambda _body, nusd: billed.append(nusd)
    async with open_provider(provider), open_world(tmp_path, patience=HASTY) as world:
        world.use(provider, speaks=form)
        said = await ask(world.port, request(body(form, stream=stream), path=FORMATS[form][0]))
        assert said.status == 200, said
        ((_, basis, cost),) = await world.holds()
        assert (basis, [cost]) == ("usage", billed)
        (held,) = await world.store.reader.read(lambda db: list(db.execute("SELECT held_nusd FROM hold")))
        assert cost is not None
        assert cost <= held[0]
        if act.dearest:
            assert cost > 0.9 * held[0]
