"""Agents of a gateway, warmed ahead: an agent's first run sets up what has the gateway busy for seconds.

    cold ──▶ being warmed: a run whose one call the proxy refuses ──▶ warm
      └────▶ an attempt came first, and warms it ──────────────────────┘

That run asks no model and spends nothing, since no attempt of the agent is let in; to create a session was
measured not to be enough. A call of it must never pass for one of an attempt, so an attempt that comes in
waits until its agent's session for this is at rest.
"""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import trio

from dashd.drivers import openclaw_gateway
from dashd.drivers.openclaw_client import INVALID, Client, GatewayRefused
from dashd.store.bells import Bell

WARMING_MAX = 2
"""Agents that are warmed at once: more are slower, and keep attempts from beginning."""
WARM_S_MAX = 120.0
REST_S_MAX = 120.0
"""For a session to come to rest that a gateway takes up by itself: seconds where a core is free."""
ABORT_AGAIN_S = 2.0
ASK_AGAIN_S = 40.0
"""For a gateway to say of a run that it is over: in its worst bursts it took 37 s to accept one."""
SAID = "Say nothing."
"""Nobody hears it."""


class Left(NamedTuple):
    """What an attempt has left behind that may go on."""

    session: str
    run_id: str = ""
    """A run in it that was asked for, and of which it is not known that it was taken: there may be no such
    session before it is.
    """
    first: bool = False
    """That begins the session: where there is one, it was taken."""


class Warmth:
    """Which agents of one gateway are warm, by the names that it has for them."""

    def __init__(self) -> None:
        self.warm: set[str] = set()
        self.entries = Bell()
        """Rung with each attempt that comes in: what was ready when nobody looked is under way."""
        self.left = Bell()
        """Rung with each run that is left to end."""
        self._entered: set[str] = set()
        self._warming: dict[str, trio.Event] = {}
        self._working: dict[str, Left] = {}
        """By agent, where its run could not be ended."""

    def cold(self, agents: Iterable[str]) -> list[str]:
        """Those of them that nothing has warmed, or is about to."""
        known = self.warm | self._entered | self._warming.keys()
        return [agent for agent in agents if agent not in known]

    def is_left(self, agent: str) -> bool:
        """Whether a run of the agent's may go on that could not be ended."""
        return agent in self._working

    def leave(self, agent: str) -> None:
        """Its first attempt warms it."""
        self._entered.add(agent)

    def leave_working(self, agent: str, session: str, run_id: str = "", *, first: bool = False) -> None:
        """An attempt of the agent is over, and its run may go on: until it does not, no other comes in. With
        a `run_id` it may even begin, and until that one is over neither; the `first` one of a session has
        begun where that is there.
        """
        self._working[agent] = Left(session, run_id, first)
        self.left.ring()

    async def end_left(self, client: Client) -> None:
        """Returns once none of those runs goes on. Raises TooSlowError, GatewayLost, and GatewayRefused where
        that is not known.
        """
        for agent, left in list(self._working.items()):
            try:
                await _all_over(client, agent, left)
            except GatewayRefused as refused:
                if refused.code != INVALID:  # else it knows nothing of it
                    raise
            if self._working.get(agent) == left:
                del self._working[agent]

    async def enter(self, client: Client, agent: str, agent_id: str) -> None:
        """An attempt of the agent is about to be let in. Keys are an agent's: what was left under another of
        its names calls with them too. Raises GatewayLost, GatewayRefused, TooSlowError.
        """
        self.leave(agent)
        self.entries.ring()
        if (warmed := self._warming.get(agent)) is not None:
            await warmed.wait()
        for name, left in list(self._working.items()):
            if openclaw_gateway.is_named(name, agent_id):
                await _all_over(client, name, left)
                self._working.pop(name, None)
        if agent not in self.warm:  # it may have been cut off, here or in a gateway before this one
            await at_rest(client, _session(agent))

    async def make_warm(self, client: Client, agent: str, gateway: str) -> None:
        """Warms it; one that the gateway does not want to run is left to its first attempt.

        Raises GatewayLost.
        """
        over = self._warming[agent] = trio.Event()
        try:
            with trio.move_on_after(WARM_S_MAX):
                run_id = f"{gateway}:warm:{agent}"
                await client.start(agent, _session(agent), run_id, SAID)
                while not (await client.wait(run_id)).over:
                    pass
                self.warm.add(agent)
                return
            self.leave(agent)
        except GatewayRefused:
            self.leave(agent)
        finally:
            del self._warming[agent]
            over.set()


async def at_rest(client: Client, session: str) -> bool:
    """Returns once nothing works in the session; False where there is none of that name.

    A gateway takes up by itself, moments after its start, what the one before it was killed in. Where it
    cannot (one of forty kills: "Pending input ownership ended") it says for ever that the session runs, and
    takes no turn in it ("changed while starting work"), though an abort finds nothing: its next start does.
    Raises TooSlowError, GatewayLost.
    """
    with trio.fail_after(REST_S_MAX):
        while (found := await client.describe(session)) is not None and found.works:
            with contextlib.suppress(GatewayRefused):  # it is still starting, mostly
                await client.abort(session)
            await trio.sleep(ABORT_AGAIN_S)
    return found is not None


async def _all_over(client: Client, agent: str, left: Left) -> None:
    """Returns once nothing works in the session, nor can begin to. Raises as `at_rest` does.

    A gateway says the same of a run that works, of one that it is about to take, that it never heard of, and
    that it has forgotten. So it is asked for under the same name once more, with another message: then it is
    known to it, and whatever comes later under that name is not done. Its calls are refused, as nobody of
    that agent is in.
    """
    with trio.fail_after(REST_S_MAX):
        patient_until = trio.current_time() + ASK_AGAIN_S
        if left.first and await client.describe(left.session) is not None:
            left = Left(left.session)
        while left.run_id and not (await client.wait(left.run_id, 0)).over:
            with contextlib.suppress(GatewayRefused):
                await client.abort(left.session)
            if trio.current_time() >= patient_until:
                await client.start(agent, left.session, left.run_id, SAID)
                patient_until = float("inf")
            await trio.sleep(ABORT_AGAIN_S)
        await at_rest(client, left.session)


def _session(agent: str) -> str:
    return f"agent:{agent}:warm"
