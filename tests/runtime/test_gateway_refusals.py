"""What is refused for now is asked again, for a time."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.drivers.openclaw_protocol import Fault
from dashd.runtime.gateway_refusals import ANSWER_S_MAX, UNTOLD_S, answered, repeated

DRAINS = GatewayRefused("agent.wait", Fault("UNAVAILABLE", "during gateway restart", True, 2_000))
SUSPENDED = GatewayRefused("agent.wait", Fault("UNAVAILABLE", "suspended"))
NOT_SO = GatewayRefused("agent.wait", Fault("INVALID_REQUEST", "not so"))


def refusing(refusal: GatewayRefused, times: int) -> Callable[[], Awaitable[str]]:
    left = [refusal] * times

    async def ask() -> str:
        await trio.lowlevel.checkpoint()
        if left:
            raise left.pop()
        return "fine"

    return ask


@pytest.mark.parametrize(("refusal", "pause_s"), [(DRAINS, 2.0), (SUSPENDED, UNTOLD_S)])
async def test_it_is_asked_again_when_it_says_so(autojump_clock, refusal, pause_s) -> None:
    assert await answered(refusing(refusal, 3)) == "fine"
    assert trio.current_time() == pytest.approx(3 * pause_s, abs=0.1)


async def test_for_a_time(autojump_clock) -> None:
    with pytest.raises(GatewayRefused, match="restart"):
        await repeated(refusing(DRAINS, 1_000), 30)
    assert 28 <= trio.current_time() <= 30
    with pytest.raises(GatewayLost, match="restart"):
        await answered(refusing(DRAINS, 1_000))
    assert trio.current_time() <= 31 + ANSWER_S_MAX


async def test_what_is_refused_for_good_is_not_repeated_and_nothing_is_known(autojump_clock) -> None:
    with pytest.raises(GatewayRefused):
        await repeated(refusing(NOT_SO, 1), 30)
    assert trio.current_time() == 0
    with pytest.raises(GatewayLost, match="not so"):
        await answered(refusing(NOT_SO, 1))
    assert trio.current_time() >= UNTOLD_S
