"""The connection to one gateway, Dash's own or an added one: made again whenever it ends, and shared by all.

    cut off ── dialled, ready, let in, greeted ──▶ connected ── it ends ──▶ cut off

While it is cut off, model calls of agents that have an attempt in it are told to try again, since nobody can
say whose run it is.
What a gateway is beside its connection (a process in a jail, a row that somebody added) is a subclass's.
"""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import trio

import dashd
from dashd.domain import surrogates
from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.driver import ModelAccess
from dashd.drivers.openclaw_client import Client, GatewayLost, GatewayRefused, open_ready
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.store.bells import Bell
from dashd.store.rows import AgentRow, SwarmRow
from dashd.store.transaction import Tx

from .doors import GatewayDoors
from .gateway_warmth import Warmth
from .world import STARTS_PER_CORE_MAX, World, cores
from .write_pace import WritePace

log = logging.getLogger(__name__)

AGAIN_S = 0.2
"""Between two looks at one that does not answer yet."""
DRAIN_S_MAX = 330.0
"""How long one that was there may not be usable, and what has begun in it waits: real ones were seen to stand
still for 37 s, and to let nobody in for 315 s before a restart while runs work on.
"""
ASK_S_MAX = 5.0
"""For somebody who asks how it fares; one that is only busy may take longer, and that is said then."""
STARTS_MAX = 4
"""First runs at once. All of them have one thread of the gateway busy, however many cores there are."""
RAW_MAX = 512
"""Runs of which it is remembered how their last call failed."""


class GatewayGone(Exception):
    """It has ended, or never began; the message says why."""


class Connection(ABC):
    """See the module. Attempts wait for `connected`, and use what it gives until that is lost."""

    def __init__(self, world: World) -> None:
        """Nothing is dialled before `_stay_connected`, which the subclass runs."""
        self.ending = False
        self.link: HolderLink | None = None
        """Where it is a process of Dash's own."""
        self.tag = ""
        """Part of its agents' names, where these must not outlive one of its starts."""
        self.starts = trio.Semaphore(min(STARTS_MAX, STARTS_PER_CORE_MAX * cores()))
        """Held for an agent's first run, which has the gateway busy for seconds."""
        self.warmth = Warmth()
        self._world = world
        self._client: Client | None = None
        self._there_at = 0.0
        """When it was connected last; before that, when it was first tried."""
        self._why = ""
        self._gone = False
        self._changes = Bell()
        self._known: set[str] = set()
        """Agents of its configuration, as it calls them."""
        self._adding = trio.Lock()
        self._pace = WritePace()
        self._made: dict[tuple[str, str], ModelAccess] = {}
        """Keys by door and agent: each is made once, however often the write is tried that tells of it."""
        self._hearers: dict[str, Callable[[protocol.RunEvent], None]] = {}
        self._raw: OrderedDict[str, str] = OrderedDict()

    # -- what attempts use ---------------------------------------------------------------------------------

    @property
    @abstractmethod
    def door(self) -> str:
        """What its listener at the proxy is called, and its agents' keys are kept under."""

    @abstractmethod
    async def add(self, agent_id: str, tag: str = "") -> None:
        """Has the agent in its configuration, under the name with this tag; by default that of its present
        start. Raises GatewayLost, GatewayRefused, GatewayGone.
        """

    @abstractmethod
    def enter(self, tx: Tx, launch_id: str, boot_id: str | None) -> None:
        """Writes down that an attempt, by its launch, runs in it from now on, in this start of it, and behind
        which walls.
        """

    @property
    def version(self) -> str | None:
        """As it says while it is connected."""
        return self._client.hello.server.version if self._client is not None else None

    @property
    def boot_id(self) -> str | None:
        """Which of its starts it is connected to, where another one may follow; None where none can."""
        return None

    def start_of(self, _agent_id: str) -> str | None:
        """The same, as it is written down for what this agent begins now."""
        return self.boot_id

    def tag_for(self, _agent_id: str) -> str:
        """What its name ends with in what it begins now."""
        return self.tag

    def renew(self, _agent_id: str, _name: str) -> bool:
        """Nothing of the agent works under this name any more. True where it has another, or gets one that it
        has not had before; False where that did not help.
        """
        return False

    async def connected(self, boot_id: str | None = None) -> Client:
        """The connection, as soon as there is one; to this start of it and no other. Raises GatewayGone."""
        while self._client is None:
            if self._gone or self.ending:
                raise GatewayGone(self._why)
            await self._changes.ticket().wait()
        return self._client

    def end(self, why: str) -> None:
        """Has it ended, whatever runs in it."""
        self.ending = True
        self._why = self._why or why
        self._changes.ring()

    def give_up(self, _why: str) -> bool:
        """It works no more. True where it is ended for that, and its attempts go on in the next one; somebody
        else's is left alone.
        """
        return False

    def has_spoken(self, since: float) -> bool:
        """Whether it has said anything since then: it is slow at most, and does not stand still."""
        return self._client is not None and self._client.heard_at > since

    async def ask(self) -> str:
        """Which version it says that it is, asked now over a connection of its own. Raises GatewayLost."""
        token = await self._token()
        try:
            with trio.fail_after(ASK_S_MAX):
                async with open_ready(self._dial, token, dashd.__version__) as client:
                    return client.hello.server.version
        except trio.TooSlowError:
            raise GatewayLost(f"no answer within {ASK_S_MAX:g} s") from None
        except (OSError, HolderGone, GatewayLost, GatewayRefused) as error:
            raise GatewayLost(str(error)) from None

    @abstractmethod
    def shun(self, why: str) -> None:
        """It took no work: where there are others, that goes to those for a while."""

    def hear(self, run_id: str, hearer: Callable[[protocol.RunEvent], None]) -> Callable[[], object]:
        """Has the events of a run told; what it returns ends that."""
        self._hearers[run_id] = hearer
        return partial(self._hearers.pop, run_id, None)

    async def raw(self, run_id: str, within_s: float) -> str:
        """How the run's last call failed, in the gateway's own words; empty where it has not said."""
        with trio.move_on_after(within_s):
            while run_id not in self._raw and not self._gone:
                await self._changes.ticket().wait()
        return self._raw.get(run_id, "")

    # -- what a subclass says of it ------------------------------------------------------------------------

    @abstractmethod
    async def _dial(self) -> trio.SocketStream:
        """Raises OSError and HolderGone."""

    @abstractmethod
    async def _token(self) -> str:
        """What lets dashd in."""

    @abstractmethod
    async def _greet(self, client: Client) -> set[str] | None:
        """It has let dashd in: the agents that it knows; None where attempts must not use this connection."""

    @abstractmethod
    def _unreachable(self, error: Exception, for_s: float) -> float:
        """No connection could be used for so long; it is tried again after as many seconds, or later where it
        says so itself.
        """

    @abstractmethod
    def _shut_out(self, refused: GatewayRefused, for_s: float) -> float:
        """It refuses dashd for good; it is tried again after as many seconds, unless this ends it."""

    # -- the connection ------------------------------------------------------------------------------------

    @property
    def _doors(self) -> GatewayDoors:
        return self._world.gateway_doors

    def _tag_of(self, _agent_id: str) -> str:
        """What the agent's name ends with in its configuration."""
        return self.tag

    async def _seats(self, swarm: SwarmRow, seats: Sequence[AgentRow]) -> list[openclaw_gateway.Seat]:
        """What it is to be told of these agents. Raises GatewayLost."""
        return [
            openclaw_gateway.Seat(
                agent_id,
                found.url,
                found.key,
                found.name,
                swarm.cwd,
                self._tag_of(agent_id),
                found.context_tokens,
                found.format,
            )
            for agent_id, found in (await self._access(swarm, seats)).items()
        ]

    async def _access(self, swarm: SwarmRow, seats: Sequence[AgentRow]) -> dict[str, ModelAccess]:
        """The way to a model of each of these agents, in this start of the gateway. Raises GatewayLost."""
        door, ids = self.door, [seat.id for seat in seats]
        made = {each: self._made[door, each] for each in ids if (door, each) in self._made}
        if fresh := [each for each in ids if each not in made]:
            try:
                found = await self._doors.keys(door, swarm.id, fresh, swarm.model)
            except OSError as error:
                raise GatewayLost(f"no way to a model for its agents: {error.strerror}") from None
            # Meanwhile it may have begun again, or agents may be over: their keys are nobody's by then.
            self._made |= {(door, each): access for each, access in found.items()}
            made |= found
        return made

    async def _stay_connected(self) -> None:
        """One connection after the other, until it is ending."""
        self._there_at = trio.current_time()
        while not self.ending:
            delay_s = AGAIN_S
            try:
                await self._connect()
            except GatewayRefused as refused:
                shut_out = self._unreachable if refused.for_now else self._shut_out
                again_s = shut_out(refused, trio.current_time() - self._there_at)
                delay_s = max(refused.retry_after_s, again_s)
            except (OSError, HolderGone, GatewayLost) as error:
                delay_s = self._unreachable(error, trio.current_time() - self._there_at)
            finally:
                self._cut_off()
            await trio.sleep(delay_s)

    async def _connect(self) -> None:
        """One connection, from the dial to its end."""
        token = await self._token()
        async with open_ready(self._dial, token, dashd.__version__, self._heard) as client:
            known = await self._greet(client)
            if known is None:
                return
            self._known = known
            self._doors.hold_off(self.door, on=False)
            self._client = client
            self._changes.ring()
            try:
                await client.lost.wait()
            finally:
                self._there_at = trio.current_time()  # also where it ends with an error

    def _cut_off(self) -> None:
        if self._client is not None:
            self._client = None
            self._doors.hold_off(self.door, on=True)
            self._changes.ring()

    def _heard(self, event: protocol.Event) -> None:
        """Most events are of runs that nobody here listens to; only what somebody hears is read whole."""
        if event.event != "agent":
            return
        if (size := len(memoryview(event.payload))) > protocol.EVENT_BYTES_MAX:  # a hint: some may be missing
            return log.warning("an event of %d bytes was passed over: %s", size, self.door)
        with contextlib.suppress(*surrogates.UNREADABLE):
            run_id = msgspec.json.decode(event.payload, type=protocol.RunOf).run_id
            if (hearer := self._hearers.get(run_id)) is None:
                return
            hearer(msgspec.json.decode(event.payload, type=protocol.RunEvent))

    def _note_raw(self, run_id: str, raw: str) -> None:
        self._raw[run_id] = raw
        if len(self._raw) > RAW_MAX:
            self._raw.popitem(last=False)
        self._changes.ring()
