"""What may be said of a model; who serves it is in tests/test_model_ports.py."""

import pytest

from dashd.store import call_bodies, holds, models
from dashd.store.call_bodies import BodyRow
from dashd.store.holds import HoldRow
from dashd.wire import errors

PRICE = {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.0001}


async def said(call, **params):
    """What is said is kept, and that nobody serves it is said."""
    said = await call("model.set", **params)
    assert "it cannot be called yet: no provider serves it" in said.problem
    return said


async def test_what_is_given_changes_and_the_rest_stays(call, scene):
    await said(call, model="m", aliases=["fast", "fast"], capabilities=["code"], **PRICE)
    await said(call, model="m", context_tokens=9)
    row = models.find(scene.db, "m")
    # A price is rounded up: half a nano-dollar a token would be nothing at all.
    assert (row.input_nusd, row.output_nusd, row.context_tokens) == (150, 1, 9)
    assert (models.names(row.aliases), models.names(row.capabilities)) == (("fast",), ("code",))
    await said(call, model="m", aliases=[])
    assert models.find(scene.db, "m").aliases == "[]"


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"input_usd_per_mtok": 1.0}, "input_usd_per_mtok"),
        ({"provider": "nobody"}, "provider"),
        ({"aliases": ["m"]}, "aliases"),
        ({"aliases": ["a -> b"]}, "aliases[0]"),
        ({"model": "a -> b", "context_tokens": 5}, "model"),
        ({}, ""),
        ({"model": " m", "context_tokens": 5}, "model"),
        ({"model": " -> ", "aliases": ["x"]}, "model"),
        ({"model": "->", "aliases": ["x"]}, "model"),
        ({"model": "a -> ", "aliases": ["x"]}, "model"),
        ({"model": '{"prefer": "cost"}', "aliases": ["x"]}, "model"),
        ({"aliases": ["fast", " "]}, "aliases[1]"),
        ({"aliases": ['{"prefer": "cost"}']}, "aliases[0]"),
        ({"model": "offline", "context_tokens": 5, "output_tokens_max": 9}, "context_tokens"),
        ({"model": "offline-b", **PRICE}, "input_usd_per_mtok"),
    ],
)
async def test_what_cannot_be_is_refused_and_not_kept(call, scene, params, path):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("model.set", **({"model": "m"} | params))
    assert refused.value.path == path
    assert models.every(scene.db) == []


async def test_an_alias_means_one_thing(call):
    await said(call, model="m", aliases=["fast"])
    with pytest.raises(errors.Conflict, match="'fast' is m's"):
        await call("model.set", model="n", aliases=["fast"])
    await said(call, model="m -> n", aliases=["both"])


async def test_what_is_set_before_its_provider_is_kept_and_that_is_said(call, scene):
    said_of = await said(call, model="later", aliases=["soon"], **PRICE)
    assert (said_of.name, said_of.aliases, said_of.input_usd_per_mtok) == ("later", ["soon"], 0.15)
    assert (said_of.provider, said_of.price_source, said_of.health) == ("", "config", "unknown")
    chain = await said(call, model="later -> other", aliases=["both"])
    assert (chain.price_source, chain.input_usd_per_mtok) == ("", 0.0)
    assert [row.name for row in models.every(scene.db)] == ["later", "later -> other"]


async def test_who_is_asked_for_and_is_not_there_is_named(call, scene):
    with pytest.raises(errors.NotFound, match="no provider 'nope'"):
        await call("model.list", provider="nope")
    assert (await call("model.list", provider="offline")).models == []
    with pytest.raises(errors.NotFound, match="'nope'") as unknown:
        await call("model.calls", of="nope")
    assert unknown.value.path == "of"
    scene.swarm("a")
    assert (await call("model.calls", of="aaaaaa")).calls == []


async def test_without_a_proxy_there_are_none(call):
    found = await call("model.list")
    assert (found.models, found.default, found.why_default) == ([], "", "there is no model")
    with pytest.raises(errors.NotFound):
        await call("model.get", model="m")


async def test_calls_that_were_kept_are_shown_with_their_texts_only_where_asked(call, scene):
    row = dict.fromkeys(HoldRow.__struct_fields__) | {
        **dict.fromkeys(("held_nusd", "held_tokens", "started_at_ms"), 0),
        **dict.fromkeys(("model", "provider", "price_date"), "m"),
        "budget_id": "project",
        "state": "open",
    }

    def keep(tx):
        for answer in ("one", "two"):
            hold_id = holds.insert(tx, HoldRow(**row))
            body = BodyRow(hold_id, 1, 1, '{"stream":true}', "asked", answer)
            call_bodies.insert(tx, body)

    scene.do(keep)
    found = await call("model.calls", limit=1)
    assert (found.calls[0].request, found.calls[0].answer, found.kept) == (None, None, "off")
    assert found.calls[0].meta == {"stream": True}
    rest = await call("model.calls", before=found.next, texts=True, of="project", limit=20)
    assert [(each.request, each.answer) for each in rest.calls] == [("asked", "one")]
    assert rest.next == 0
    scene.swarm("a")
    assert (await call("model.calls", of="aaaaaa")).calls == []
