"""What an agent waits for where that is money, its rate or a provider: which, since when, what to run."""

import dataclasses

import pytest

from dashd.service.ports import CallWait
from dashd.store import budgets
from dashd.wire.events import iso
from tests.fakes import models
from tests.fakes.scene import SWARM
from tests.store.test_thresholds import limit, spend

USD = 10**9
SEAT = f"{SWARM}-001"


@pytest.fixture
def fake():
    return models.FakeModels()


@pytest.fixture
def core(core, fake):
    return dataclasses.replace(core, models=fake)


@pytest.fixture
def running(scene):
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    return claim


def waits(clock, what: str, on: str, text: str, for_ms: int | None = None) -> CallWait:
    now_ms = clock.now_ms()
    return CallWait(what, on, text, now_ms - 5_000, None if for_ms is None else now_ms + for_ms)


async def test_a_swarm_that_its_budget_has_paused(call, scene, clock, running) -> None:
    limit(scene, USD)
    clock.advance(60_000)
    spend(scene, USD)
    stopped_at = clock.now_ms()
    clock.advance(60_000)
    for found in (await call("agent.why", agent=SEAT), (await call("agent.get", agent=SEAT)).why):
        assert (found.waits_for, found.on, found.since) == ("budget", [SWARM], iso(stopped_at))
        assert found.text == (
            f"its swarm is paused by budget {SWARM}: nothing is left of $1.00;"
            f" budget.extend {SWARM} 0.000000001"
        )
        assert "resume" not in found.text


async def test_an_agent_that_its_own_budget_has_paused(call, scene, running) -> None:
    limit(scene, USD, node=SEAT)
    spend(scene, USD)
    found = await call("agent.why", agent=SEAT)
    assert (found.waits_for, found.on) == ("budget", [SEAT])
    assert found.text.startswith(f"it is paused by budget {SEAT}: nothing is left of $1.00; budget.extend")


async def test_a_budget_that_pauses_early_can_be_resumed(call, scene, running) -> None:
    limit(scene, USD)
    scene.do(lambda tx: budgets.set_actions(tx, SWARM, "pause", "none", "pause"))
    spend(scene, USD * 3 // 4)
    found = await call("agent.why", agent=SEAT)
    assert found.text == f"its swarm is paused by budget {SWARM}: 75 % of it is spent; resume it to go on"
    await call("swarm.resume", swarm=SWARM)
    await call("swarm.pause", swarm=SWARM)
    assert (await call("agent.why", agent=SEAT)).waits_for == "pause"


async def test_a_limit_lowered_below_what_is_spent_is_told_with_the_call_that_waits(
    call, scene, clock, fake, running
) -> None:
    limit(scene, 10 * USD)
    spend(scene, USD * 14 // 10)
    await call("budget.set", budget=SWARM, limit_usd=1)
    fake.held = waits(clock, "budget", SWARM, f"budget {SWARM}: as it was")
    found = await call("agent.why", agent=SEAT)
    assert (found.waits_for, found.on, found.since) == ("budget", [SWARM], iso(clock.now_ms() - 5_000))
    assert found.text == (
        f"its next model call waits: budget {SWARM}: limit $1.00 is below spent $1.40: nothing more may be"
        f" spent; budget.extend {SWARM} 0.41"
    )


async def test_a_frozen_budget_names_what_thaws_it(call, scene, clock, fake, running) -> None:
    scene.do(lambda tx: budgets.set_frozen(tx, SEAT, "its price is wrong"))
    early = await call("agent.why", agent=SEAT)
    assert (early.waits_for, early.on, early.until) == ("budget", [SEAT], None)
    assert (await call("agent.get", agent=SEAT)).why == early
    (listed,) = (await call("agent.list")).items
    assert (listed.state, listed.waits_for) == ("running", "budget")
    fake.held = waits(clock, "budget", SEAT, "frozen")
    found = await call("agent.why", agent=SEAT)
    assert early.text == found.text
    assert found.text.endswith(f"budget {SEAT}: frozen: its price is wrong; budget.set {SEAT} --thaw")


async def test_a_list_says_what_agent_why_says_of_whoever_has_work(call, scene, clock, fake) -> None:
    scene.swarm("a", "b", "c", agents_made=3)
    first, second = scene.claim(2)
    scene.start(first)

    async def listed() -> list[str]:
        found = [each.waits_for for each in (await call("agent.list")).items]
        whys = [(await call("agent.why", agent=f"{SWARM}-{n:03d}")).waits_for for n in (1, 2)]
        assert found[:2] == whys
        assert found[2] == "nothing"  # it has no work
        return found[:2]

    assert await listed() == ["nothing", "start"]
    scene.start(second)
    assert await listed() == ["nothing", "nothing"]
    await call("agent.pause", agent=SEAT)
    assert await listed() == ["pause", "nothing"]
    await call("agent.resume", agent=SEAT)
    fake.held = waits(clock, "provider", "p1", "provider p1 does not answer just now", 1_000)
    assert await listed() == ["provider", "provider"]  # the fake holds everybody's
    fake.held = None
    limit(scene, USD)
    spend(scene, USD)
    assert await listed() == ["budget", "budget"]


@pytest.mark.parametrize(
    ("held", "for_ms", "waits_for", "text"),
    [
        (("line", SWARM, "x"), None, "budget", f"calls under way hold what is left of budget {SWARM};"),
        (
            ("rate", "requests_per_minute", "its calls are slowed down to 60 requests a minute"),
            2_000,
            "rate",
            "its calls are slowed down to 60 requests a minute; proxy.requests_per_minute in",
        ),
        (
            ("provider", "acme", "provider acme takes no more calls: HTTP 402"),
            None,
            "provider",
            "provider acme takes no more calls: HTTP 402; provider.test acme",
        ),
        (
            ("provider", "acme", "provider acme does not answer just now: HTTP 503"),
            4_000,
            "provider",
            "provider acme does not answer just now: HTTP 503; it is tried again by itself",
        ),
    ],
)
async def test_a_call_that_waits(call, clock, fake, running, held, for_ms, waits_for, text) -> None:
    fake.held = waits(clock, *held, for_ms)
    found = await call("agent.why", agent=SEAT)
    assert (found.waits_for, found.on) == (waits_for, [held[1]])
    assert found.text.startswith(f"its next model call waits: {text}")
    assert found.since == iso(clock.now_ms() - 5_000)
    assert found.until == (None if for_ms is None else iso(clock.now_ms() + for_ms))


async def test_a_pause_by_hand_comes_before_a_call_that_waits(call, scene, clock, fake, running) -> None:
    fake.held = waits(clock, "line", SWARM, "x")
    await call("agent.pause", agent=SEAT)
    assert (await call("agent.why", agent=SEAT)).waits_for == "pause"
