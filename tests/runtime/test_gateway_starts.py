"""Gateways are started ahead of the tasks that want them, and again where one fails, at no cost to those."""

import dataclasses
from typing import Any

import pytest
import trio

from dashd.runtime import gateway_starts as module
from dashd.runtime.gateway_connection import GatewayGone
from dashd.runtime.gateway_starts import GatewayStarts
from dashd.runtime.placing import Placing, Round
from dashd.store import queue
from tests.fakes.scene import SWARM


class FakeGateway:
    """It comes up, or fails with words."""

    def __init__(self, why: str | None) -> None:
        self._why = why

    async def connected(self) -> None:
        await trio.sleep(1)
        if self._why is not None:
            raise GatewayGone(self._why)


class FakeGateways:
    """See runtime.gateways."""

    def __init__(self, bed: Any) -> None:
        self.bed = bed
        self.fault: str | None = "no bwrap"
        self.tried_at: list[float] = []

    async def begun(self, swarm_id: str) -> FakeGateway:
        self.tried_at.append(trio.current_time())
        if self.fault is None:
            self.bed.store.bells.queue.ring()
        return FakeGateway(self.fault)

    def is_up(self, swarm_id: str) -> bool:
        return self.fault is None and bool(self.tried_at)

    def up(self) -> frozenset[str]:
        return frozenset([SWARM] if self.is_up(SWARM) else [])


class Case:
    def __init__(self, bed: Any, *, auto: bool = True) -> None:
        self.bed = bed
        self.gateways = FakeGateways(bed)
        world = dataclasses.replace(bed.world, gateways=self.gateways)
        self.starts = GatewayStarts(world, auto=auto)
        bed.nursery.start_soon(self.starts.run)
        self.placing = Placing({}, dict, self.gateways.up)

    def claims(self) -> int:
        seen = self.placing.look()
        return len(self.bed.scene.do(lambda tx: queue.claim(tx, 100, Round(seen))).claims)

    def downs(self) -> list[dict[str, Any]]:
        return [each["data"] for each in self.bed.scene.events() if each["kind"] == "gateway.down"]


@pytest.fixture
def wants(bed):
    """A swarm in gateway mode has a task, and another one has one that needs nothing."""
    bed.scene.swarm("a", mode="gateway", driver="openclaw", walls="required")
    bed.scene.swarm("b", swarm_id="bbbbbb")
    return bed


async def test_until_it_is_up_no_task_of_its_swarm_starts_and_all_others_do(wants, autojump_clock) -> None:
    case = Case(wants)
    assert case.claims() == 1
    assert wants.scene.task(swarm_id="bbbbbb").state == "running"
    assert case.starts.why(SWARM) == module.STARTING
    case.gateways.fault = None
    await trio.sleep(module.AGAIN_S + 2)
    assert case.starts.why(SWARM) == ""
    assert case.claims() == 1
    assert (wants.scene.task().state, wants.scene.task().attempts) == ("running", 0)


async def test_it_is_tried_every_five_seconds_then_said_once_then_every_minute(wants, autojump_clock) -> None:
    case = Case(wants)
    await trio.sleep(module.AGAIN_S)
    assert "try 1 of 10" in case.starts.why(SWARM)
    assert "no bwrap" in case.starts.why(SWARM)
    await trio.sleep(2 * module.LATER_S + 10 * (module.AGAIN_S + 1))
    (said,) = case.downs()
    assert (said["tries"], said["reason"]) == (module.TRIES_MAX, "no bwrap")
    gaps = [b - a - 1 for a, b in zip(case.gateways.tried_at, case.gateways.tried_at[1:], strict=False)]
    assert gaps[:9] == pytest.approx([module.AGAIN_S] * 9)
    assert gaps[9:] == pytest.approx([module.LATER_S] * len(gaps[9:]))
    assert f"dashctl swarm resume {SWARM}" in case.starts.why(SWARM)
    assert (wants.scene.task().state, wants.scene.task().attempts) == ("ready", 0)


async def test_what_may_help_has_it_tried_at_once(wants, autojump_clock) -> None:
    case = Case(wants)
    await trio.sleep(10 * (module.AGAIN_S + 1) + 1)
    before = len(case.gateways.tried_at)
    wants.store.bells.gateways.ring()
    await trio.sleep(2)
    assert len(case.gateways.tried_at) == before + 1


async def test_one_that_nobody_wants_any_more_is_not_tried(wants, autojump_clock) -> None:
    case = Case(wants)
    await trio.sleep(1.5)
    wants.scene.do(lambda tx: tx.execute("UPDATE task SET state = 'cancelled' WHERE swarm_id = ?", (SWARM,)))
    wants.store.bells.queue.ring()
    await trio.sleep(10 * module.LATER_S)
    assert len(case.gateways.tried_at) == 1


async def test_an_end_without_a_reason_is_no_failure(wants, autojump_clock) -> None:
    case = Case(wants)
    case.gateways.fault = ""
    await trio.sleep(1.5)
    assert case.starts.why(SWARM) == module.STARTING


async def test_where_that_is_off_tasks_wait_and_say_what_to_run(wants, autojump_clock) -> None:
    case = Case(wants, auto=False)
    await trio.sleep(10 * module.LATER_S)
    assert case.gateways.tried_at == []
    assert case.claims() == 1  # the other swarm's
    assert "DASH_OPENCLAW_DAEMON_ENABLED=true" in case.starts.why(SWARM)
    assert case.downs() == []
