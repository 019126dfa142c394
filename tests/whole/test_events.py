"""Events by cursor: waited for, pushed, filtered, and the same whichever way they come."""

import pytest
import trio

from tests.whole import door
from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow


async def pushed(dash, until):
    """Every event that is pushed up to and including the first of a kind."""
    found = []
    with trio.fail_after(door.WAIT_S_MAX):
        while not any(event["kind"] == until for event in found):
            notice = dash.pushed.pop(0) if dash.pushed else await dash.line()
            assert notice["method"] == "$/events"
            found += notice["params"]["events"]
    return found


async def test_a_subscription_and_a_list_say_the_same(dash, daemon, gate):
    created = await dash.swarm(GATE, gate.path, agents=5)
    swarm = created["id"]
    async with door.open_door(daemon.socket) as other:
        # In the middle of what happens: from the beginning, over the join, to the end.
        subscribed = await other.call("event.subscribe", swarm=swarm, since=0)
        assert subscribed["subscription"] > 0
        gate.let(5)
        found = await pushed(other, "swarm.completed")
    await dash.ended(swarm)
    listed = await dash.call("event.list", swarm=swarm, limit=1_000)
    assert found == listed["events"]


async def test_only_what_was_asked_for_is_pushed_and_nothing_after_the_end(dash, daemon):
    async with door.open_door(daemon.socket) as other:
        subscribed = await other.call("event.subscribe", kinds=["swarm.*", "task.dead"])
        created = await dash.swarm("exit 1", limits={"retries": 0})
        found = [
            event["kind"] for event in await pushed(other, "swarm.failed") if event["swarm"] == created["id"]
        ]
        assert found == ["swarm.created", "task.dead", "swarm.failed"]
        number = subscribed["subscription"]
        assert (await other.call("event.unsubscribe", subscription=number))["changed"] is True
        assert (await other.call("event.unsubscribe", subscription=number))["changed"] is False
        await dash.ended((await dash.swarm("true"))["id"])
        await other.call("daemon.ping")
        assert other.pushed == []


async def test_attention_is_silent_about_success(dash):
    created = await dash.swarm(
        'test "$1" = good', "{item}", agents=2, items=["good", "bad"], limits={"retries": 0}
    )
    await dash.ended(created["id"])
    listed = await dash.call("event.list", swarm=created["id"], attention=True)
    assert [event["kind"] for event in listed["events"]] == ["task.dead", "swarm.completed"]


async def test_a_wait_without_news_ends_with_the_same_cursor(dash):
    cursor = (await dash.call("daemon.status"))["last_seq"]
    waited = await dash.call("event.wait", since=cursor, kinds=["gateway.*"], timeout_s=0.05)
    assert (waited["events"], waited["timed_out"]) == ([], True)
    assert waited["cursor"] >= cursor


async def test_pages_join_without_a_gap(dash):
    created = await dash.swarm("true", agents=5)
    await dash.ended(created["id"])
    whole = (await dash.call("event.list", swarm=created["id"], limit=1_000))["events"]
    pages, cursor, more = [], 0, True
    while more:
        page = await dash.call("event.list", swarm=created["id"], since=cursor, limit=7)
        pages += page["events"]
        cursor, more = page["cursor"], page["more"]
    assert pages == whole
