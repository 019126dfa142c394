"""`dashctl model …` against a scripted dashd."""

import json

from dashd.wire.methods import model


def a_model(**changes):
    made = {"name": "m-1", "provider": "one", "aliases": ["fast"], "capabilities": ["code"]}
    made |= {"context_tokens": 128_000, "output_tokens_max": 4_096, "stand_in": False}
    made |= {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6, "health": "up", "latency_ms": 312.4}
    return model.Model(**(made | {"price_source": "config", "price_date": "2026-11-20"} | changes))


def test_list_says_which_is_the_default_and_why(dashd, ctl):
    listed = model.ModelList(default="m-1", why_default="it is the first", models=[a_model()])
    dashd.on("model.list", listed)
    lines = ctl("model", "list", "--provider", "one").out.splitlines()
    assert lines[1].split() == ["m-1", "one", "0.15", "0.6", "128,000", "up", "312", "ms", "fast"]
    assert lines[-1] == "Default: m-1, because it is the first"
    assert dashd.asked("model.list")[0] == {"provider": "one"}
    assert json.loads(ctl("model", "list", "--json").out)["default"] == "m-1"


def test_list_says_what_an_alias_leads_to(dashd, ctl):
    aliases = [
        model.Alias(name="smart", means="m-1 -> offline", leads_to=["one/m-1", "offline/offline"]),
        model.Alias(name="lost", means="gone", leads_to=[]),
    ]
    listed = model.ModelList(default="m-1", why_default="so", models=[a_model()], aliases=aliases)
    dashd.on("model.list", listed)
    lines = ctl("model", "list").out.splitlines()
    assert lines[4].split() == ["smart", "one/m-1", "->", "offline/offline", "m-1", "->", "offline"]
    assert "nobody serves it" in lines[5]
    dashd.on("model.get", a_model(leads_to=["one/m-1", "offline/offline"]))
    assert "one/m-1 -> offline/offline" in ctl("model", "get", "smart").out
    dashd.on("model.get", a_model(leads_to=["one/m-1"]))
    assert "a call tries" not in ctl("model", "get", "m-1").out


def test_get(dashd, ctl):
    dashd.on("model.get", a_model(stand_in=True, context_tokens=None, latency_ms=None))
    ran = ctl("model", "get", "fast")
    assert "m-1 (a stand-in: it only pretends)" in ran.out
    assert "$0.15 a million tokens" in ran.out
    assert json.loads(ctl("model", "get", "fast", "--json").out)["provider"] == "one"


def test_set(dashd, ctl):
    dashd.on("model.set", a_model())
    words = ("--input", "0.15", "--output", "$0.60", "--alias", "fast", "--capability", "code")
    assert ctl("model", "set", "m-1", *words, "--context", "128000", "--output-max", "4096").code == 0
    assert dashd.asked("model.set")[0] == {
        "model": "m-1",
        "context_tokens": 128_000,
        "output_tokens_max": 4_096,
        "input_usd_per_mtok": 0.15,
        "output_usd_per_mtok": 0.6,
        "aliases": ["fast"],
        "capabilities": ["code"],
    }
    ctl("model", "set", "m-1", "--no-alias")
    assert dashd.asked("model.set")[1] == {"model": "m-1", "aliases": []}
    assert ctl("model", "set", "m-1").code == 2
    assert ctl("model", "set", "m-1", "--input", "free").code == 2


def test_calls(dashd, ctl):
    dashd.on("model.calls", model.CallList(calls=[], next=0, kept="off"))
    assert ctl("model", "calls").out == "No call is kept (proxy.bodies is off: nothing is)\n"
    said = model.KeptCall(
        id=7, at="2026-11-20T10:00:00.000Z", budget="a", swarm="s", agent="s-001", task=None, model="m-1",
        provider="one", usd=0.0012, basis="usage", meta={"request_bytes": 1_234, "answer_bytes": 5},
        request="hello\nthere \x1b[31m", answer=None,
    )  # fmt: skip
    dashd.on("model.calls", model.CallList(calls=[said], next=7, kept="full"))
    table = ctl("model", "calls", "s-001", "--limit", "1", "--before", "9").out
    assert "0.001200" in table
    assert "1,234" in table
    assert table.endswith("Older ones: --before 7\n")
    assert dashd.asked("model.calls")[1] == {"of": "s-001", "limit": 1, "before": 9}
    full = ctl("model", "calls", "--full").out
    assert "request  hello\n" in full
    assert "(not kept)" in full
    assert "\x1b" not in full
    assert json.loads(ctl("model", "calls", "--json").out)["next"] == 7


def test_a_price_that_longer_calls_pass_says_so(dashd, ctl):
    tier = model.PriceTier(over_input_tokens=200_000, input_usd_per_mtok=6.0, output_usd_per_mtok=22.5)
    tiered = a_model(input_usd_per_mtok=3.0, output_usd_per_mtok=15.0, tiers=[tier])
    dashd.on("model.list", model.ModelList(default="m-1", why_default="so", models=[tiered]))
    dashd.on("model.get", tiered)
    assert ctl("model", "list").out.splitlines()[1].split()[2:4] == ["3+", "15+"]
    said = ctl("model", "get", "m-1").out
    assert "above 200,000" in said
    assert "$6 in, $22.5 out, of the whole call; each call holds the dearest" in said
