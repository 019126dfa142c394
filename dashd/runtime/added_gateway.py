"""One gateway that somebody added, as long as anything of Dash's is in it: connected, written to, cleaned up.

    its agents' door open ──▶ connected ◀──▶ cut off ──▶ nothing of Dash's left in it ──▶ gone

Dash writes two things into its configuration, and removes both when a swarm has ended: for each seat an agent
and its way to a model. Both are named after the gateway's present start (`tag`; an agent of which nothing
works any more under that name gets another, see `domain.renewal`). A gateway that begins again
takes interrupted sessions up by itself; those are then agents of an earlier start, whose keys
open nothing. What ran in an earlier start, or in a gateway that counts as dead, is lost: at once where nobody
listens at its address any more, after some minutes where it only says nothing. The next attempt goes on in
its session, where the gateway has it: as the agent of that start, which gets a key of this one. One that
returns as it was goes on with what runs, and is told to end what was given up meanwhile.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import trio

from dashd.domain import agent as agent_rules
from dashd.domain import renewal
from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import INVALID, Client, GatewayLost, GatewayRefused
from dashd.store import added_gateways, agents, attempts, bells, gateways, swarms
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.rows import AgentRow, Snapshot, SwarmRow
from dashd.store.transaction import Tx

from .gateway_connection import AGAIN_S, DRAIN_S_MAX, Connection, GatewayGone
from .gateway_link import first_run
from .gateway_probes import GatewayProbes, NoToken, dial
from .world import World

AGAIN_S_MAX = 5.0
"""Between two tries where it has not answered for long."""
CONNECT_S_MAX = 300.0
"""How long attempts wait for a gateway that is alive and cannot be connected to."""
SILENT_S_MAX = 60.0
"""How long the connection to one that counts as dead is kept while it says nothing: one that is only busy
ticks every 30 s, and answers as often those who wait for its runs.
"""
BEGUN_S_MAX = DRAIN_S_MAX
"""How long what has begun in one waits for it where it counts as dead and says nothing, or refuses dashd.
It begins with the end of a connection, or with dashd.
"""
SEATS_MAX = 16
"""In one write; six took a real one two to twelve seconds."""
TRIES_MAX = 3
"""Of one change: somebody else may have changed the configuration in between."""
TIDY_S = 1.0
"""Swarms that end together are cleaned up in one write."""
TIDY_AGAIN_S = 30.0
LEAVE_S_MAX = 30.0
"""For taking everything back out of one that was removed."""
LEFT_MAX = 200
END_LEFT_S_MAX = 60.0
"""For ending, in one connection, runs that were given up: it is not used before."""
LOG_LINES = 500


class AddedGateway(Connection):
    """See the module."""

    def __init__(self, world: World, probes: GatewayProbes, name: str) -> None:
        """Nothing happens before `run`."""
        super().__init__(world)
        self.name = name
        self.uses = 0
        """How often somebody has asked for it: so that it does not end on who is just coming."""
        self._probes = probes
        self._boot_id = ""
        self._wanted: dict[str, str] = {}
        """Agents that are waited for, and the tag of each."""
        self._late = ""
        self._ended: set[str] = set()
        """Attempts that were given up in its present start, and whose runs it was told to end."""
        self._cut_at = trio.current_time()
        self._stale: set[str] = set()
        """Agents of its configuration that are over, or will be with a task of theirs, as it calls them."""
        self._renewed: dict[str, int] = {}
        """How often agents were given another name in its present start."""

    @property
    def door(self) -> str:
        """See Connection."""
        return f"{added_gateways.door(self.name)}@{self.tag}"

    @property
    def boot_id(self) -> str | None:
        """See Connection."""
        return self._boot_id

    async def connected(self, boot_id: str | None = None) -> Client:
        """See Connection. Where it counts as dead only what has begun in it waits, for a time."""
        while (client := self._client) is None:
            until, now = self._cut_at + BEGUN_S_MAX, trio.current_time()
            patient = boot_id is not None and now < until
            if why := self._given_up(patient=patient):
                raise GatewayGone(why)
            with trio.move_on_at(until if patient else float("inf")):
                await bells.either(self._changes.ticket(), self._probes.changes.ticket())
        if boot_id is not None and not renewal.is_in(boot_id, self._boot_id):
            raise GatewayGone("it has begun again since")
        return client

    def start_of(self, agent_id: str) -> str:
        """See Connection."""
        return renewal.of(self._boot_id, self._renewed.get(agent_id, 0))

    def tag_for(self, agent_id: str) -> str:
        """See Connection."""
        return openclaw_gateway.tag_of(self.start_of(agent_id)) if agent_id in self._renewed else self.tag

    def renew(self, agent_id: str, name: str) -> bool:
        """See Connection. What it was called goes once its task is done."""
        if name != self._name(agent_id):
            return True
        self._stale.add(name)
        renewed = self._renewed.get(agent_id, 0)
        self._renewed[agent_id] = renewed + 1
        self._changes.ring()
        return renewed == 0

    async def add(self, agent_id: str, tag: str = "") -> None:
        """See Connection. Who comes while it is being written to is part of the next write, with all of its
        swarm.
        """
        self._wanted[agent_id] = tag
        try:
            async with self._adding:
                client = await self.connected()
                while self._name(agent_id, tag) not in self._known:
                    await self._bring(client)
        finally:
            self._wanted.pop(agent_id, None)

    def enter(self, tx: Tx, launch_id: str, boot_id: str | None) -> None:
        """See Connection. No walls of Dash's are around it."""
        assert boot_id is not None, "only one of Dash's own never begins again"
        attempts.set_place_boot(tx, launch_id, boot_id)
        attempts.set_walls(tx, launch_id, "0", None)

    async def raw(self, run_id: str, within_s: float) -> str:
        """See Connection. It is asked for the end of its log."""
        with trio.move_on_after(within_s), contextlib.suppress(GatewayGone, GatewayLost, GatewayRefused):
            for line in await (await self.connected()).log(LOG_LINES):
                if (found := protocol.raw_error(line)) and found[0] == run_id:
                    self._note_raw(*found)
        return self._raw.get(run_id, "")

    # -- its life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until nothing of Dash's is left in it, or it is no longer there. Cancelled, it lets go."""
        door = added_gateways.door(self.name)
        try:
            if (row := await self._row()) is not None:
                await self._open(door, row)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stay_connected)
                    nursery.start_soon(self._let_go_of_the_dead)
                    await self._clean_up()
                    nursery.cancel_scope.cancel(reason="nothing of Dash's is left in the gateway")
        except OSError as error:
            self.end(f"no way to a model for its agents: {error.strerror}")
        self._gone = True
        await self._doors.shut(door)

    async def _open(self, door: str, row: AddedGatewayRow) -> None:
        port = await self._doors.listen(door, self.name, row.port)
        if row.port is not None and port != row.port:  # what they were told leads to a stranger now
            await self._doors.retire(self.door)
        if port != row.port:
            await self._world.commit(partial(added_gateways.set_port, name=self.name, port=port))

    async def _clean_up(self) -> None:
        """Removes what is over, until nothing is left."""
        while True:
            bells_ = self._world.store.bells
            tickets = bells_.swarms.ticket(), bells_.gateways.ticket(), self._changes.ticket()
            uses = self.uses
            if await self._row() is None:
                self.end("it was removed")
                with trio.move_on_after(LEAVE_S_MAX):
                    await self._tidy()
                return
            needed, over = await self._world.store.own.read(partial(self._left, self._holders()))
            if not needed and self.uses == uses:
                return self.end("nothing of Dash's was left in it")
            if not over or self._client is None:
                await bells.either(*tickets)
            elif not await self._tidy():
                await trio.sleep(TIDY_AGAIN_S)

    async def _tidy(self) -> bool:
        """Takes out what is over; False where some of it is left. Who comes meanwhile waits for one step."""
        await trio.sleep(TIDY_S)
        try:
            return await self._take_out(await self.connected())
        except (GatewayGone, GatewayLost, GatewayRefused):
            return False

    def _holders(self) -> set[str]:
        """Agents that have keys there; not to be asked for on a reader's thread."""
        return self._doors.holders(self.door)

    def _left(self, holders: set[str], db: Snapshot) -> tuple[bool, bool]:
        """(anything of Dash's is in it, or is to come; some of it is over)."""
        open_ = bool(attempts.agents_at(db, self.name))
        over = any(self._is_over(db, each) for each in self._stale)
        over = over or any(not _is_seat(db, each) for each in holders)
        return bool(self._stale) or bool(holders) or open_, over

    # -- its configuration ---------------------------------------------------------------------------------

    def _name(self, agent_id: str, tag: str = "") -> str:
        return openclaw_gateway.agent_name(agent_id, tag or self.tag_for(agent_id))

    async def _bring(self, client: Client) -> None:
        """All that is wanted, in one change. Raises GatewayLost and GatewayRefused."""
        coming = await self._world.store.own.read(partial(self._wanted_seats, dict(self._wanted)))
        seats = [seat for swarm, fresh in coming for seat in await self._seats(swarm, fresh)]
        self._world.points.at("added.before_write")
        await self._patch(client, openclaw_gateway.guests(seats))
        self._world.points.at("added.after_write")
        self._known |= {self._name(seat.agent_id, seat.tag) for seat in seats}

    async def _take_out(self, client: Client) -> bool:
        """All that is over; False where some of it is left, as it is busy. See `_bring`."""
        named, providers, size = await client.configured()
        listed = _guests(named, providers)
        gone, over = await self._world.store.own.read(partial(self._what_goes, listed, self._holders()))
        left = set()
        for name in gone:
            async with self._adding:
                try:
                    await client.delete(name)
                except GatewayRefused as refused:
                    if name in named and refused.code != INVALID:  # else it is gone, or the only one
                        left.add(name)
        size -= sum(named[name] for name in gone if name in named)
        for change, lists in openclaw_gateway.farewells(gone, providers, size):
            async with self._adding:
                await self._patch(client, change, lists)
        self._known -= set(gone)
        self._stale = (self._stale & listed - set(gone)) | left
        if over:
            for each in over:
                self._made.pop((self.door, each), None)
            await self._doors.forget(self.door, over)
        self._changes.ring()
        return not left

    async def _patch(self, client: Client, change: dict[str, object], lists: Sequence[str] = ()) -> None:
        for left in reversed(range(TRIES_MAX)):
            await self._pace.turn()
            try:
                return await client.patch(change, lists)
            except GatewayRefused as refused:
                if not left:
                    raise
                await trio.sleep(refused.retry_after_s or AGAIN_S)
        raise AssertionError("the last try ends it")

    def _wanted_seats(self, wanted: Mapping[str, str], db: Snapshot) -> list[tuple[SwarmRow, list[AgentRow]]]:
        """Those that are waited for and others of their swarms, by swarm."""
        asked = [row for each in sorted(wanted) if (row := agents.find(db, each)) is not None]
        ids = {row.swarm_id for row in asked}
        others = [each for swarm_id in ids for each in agents.open_seats(db, swarm_id)]
        fresh = {
            each.id: each
            for each in (*asked, *others)
            if self._name(each.id, wanted.get(each.id, "")) not in self._known
        }
        found: dict[str, list[AgentRow]] = {}
        for seat in list(fresh.values())[:SEATS_MAX]:
            found.setdefault(seat.swarm_id, []).append(seat)
        return [(swarms.get(db, swarm_id), seats) for swarm_id, seats in found.items()]

    def _what_goes(self, listed: set[str], holders: set[str], db: Snapshot) -> tuple[list[str], list[str]]:
        """(names to go, agents whose keys end)."""
        gone = [name for name in sorted(listed) if self._is_over(db, name)]
        return gone, [each for each in holders if self.ending or not _is_seat(db, each)]

    def _is_former(self, db: Snapshot, name: str) -> bool:
        """An agent of this daemon's, of an earlier start of the gateway or of a seat that has ended, or
        under a name that works no more.
        """
        agent_id = openclaw_gateway.agent_id_of(name)
        if agent_id is None or agents.find(db, agent_id) is None:
            return False
        return name != self._name(agent_id) or not _is_seat(db, agent_id) or self.ending

    def _is_over(self, db: Snapshot, name: str) -> bool:
        """The same, and nothing goes on in a session of its, or will."""
        agent_id = openclaw_gateway.agent_id_of(name)
        if agent_id is None or not self._is_former(db, name):
            return False
        if self.ending or not _is_seat(db, agent_id):
            return True
        boots = attempts.session_boots(db, agent_id, self.name)
        return name not in {self._name(agent_id, openclaw_gateway.tag_of(each)) for each in boots}

    def _tag_of(self, agent_id: str) -> str:
        """See Connection."""
        return self._wanted.get(agent_id) or self.tag_for(agent_id)

    # -- the connection ------------------------------------------------------------------------------------

    async def _dial(self) -> trio.SocketStream:
        if (row := await self._row()) is None:
            raise GatewayLost("it was removed")
        return await dial(row.url)

    async def _token(self) -> str:
        try:
            if (row := await self._row()) is None:
                raise GatewayLost("it was removed")
            return await self._probes.token(row)
        except NoToken as missing:
            raise GatewayLost(str(missing)) from None

    async def _greet(self, client: Client) -> set[str] | None:
        """See Connection. Before a call from it is let through, keys of earlier starts end, and runs that
        were given up while it was away.
        """
        boot_id = client.hello.server.boot_id
        renewed = await self._world.store.own.read(
            partial(attempts.renewed, place=self.name, boot_id=boot_id)
        )
        if self._boot_id != boot_id:
            self._ended.clear()
            self._renewed.clear()
        self._boot_id = boot_id
        self._renewed = renewed | self._renewed  # a name that was given may be in no row yet
        self.tag = openclaw_gateway.tag_of(self._boot_id)
        await self._doors.retire(self.door)
        self._made = {key: made for key, made in self._made.items() if key[0] == self.door}
        try:
            with trio.fail_after(END_LEFT_S_MAX):
                await self._end_left(client)
        except trio.TooSlowError:
            raise GatewayLost(f"runs that were given up took more than {END_LEFT_S_MAX:g} s to end") from None
        named, providers, _ = await client.configured()
        listed = _guests(named, providers)
        former = await self._world.store.own.read(
            lambda db: [name for name in listed if self._is_former(db, name)]
        )
        self._stale = set(former)
        known = await client.agents() & {self._name(each) for each in self._holders()}
        self._late = ""  # not before: it may let dashd in and refuse all else, for ever
        return known

    async def _end_left(self, client: Client) -> None:
        """Each of those runs once: the next connection goes on where this one ends."""
        left = await self._world.store.own.read(self._sessions_left)
        self._ended &= left.keys()
        for attempt_id, (agent, session, first) in left.items():
            if attempt_id in self._ended:
                continue
            if first and not self.warmth.is_left(agent):
                self.warmth.leave_working(agent, session, first, first=True)
            try:
                await client.abort(session)
            except GatewayRefused as refused:
                if refused.code != INVALID:  # else it knows nothing of it any more
                    raise GatewayLost(f"a run that was given up may go on: {refused}") from None
            self._ended.add(attempt_id)

    def _sessions_left(self, db: Snapshot) -> dict[str, tuple[str, str, str]]:
        """In which runs were given up or stopped in this start: (agent, it, see `first_run`), by attempt."""
        open_ = (attempts.open_of_agent(db, each) for each in attempts.begun_at(db, self.name))
        going = {gateways.session_of(db, row).id for row in open_ if row and row.started_at_ms is not None}
        found = {}
        for row in attempts.left_at(db, self.name, self._boot_id, LEFT_MAX):
            session = gateways.session_of(db, row)
            if session.id in going:  # its next attempt came in when it was at rest, and works there now
                continue
            tag = openclaw_gateway.tag_of(session.place_boot or self._boot_id)
            agent = openclaw_gateway.agent_name(row.agent_id, tag)
            key = openclaw_gateway.session_key(row.agent_id, session.id, tag)
            found[row.id] = agent, key, first_run(db, row, session.id)
        return found

    def _cut_off(self) -> None:
        """See Connection."""
        if self._client is not None:
            self._cut_at = trio.current_time()
            self._probes.hurry(self.name)
        super()._cut_off()

    async def _let_go_of_the_dead(self) -> None:
        """A process that was stopped ends no connection: what runs in it would wait for the limit of a call,
        and then for another one.
        """
        while True:
            tickets = self._changes.ticket(), self._probes.changes.ticket()
            client, seen, left_s = self._client, self._probes.seen.get(self.name), float("inf")
            if client is not None and seen is not None and seen.health == "dead":
                left_s = client.heard_at + SILENT_S_MAX - trio.current_time()
                if left_s <= 0:
                    client.lost.set()
                    left_s = float("inf")
            with trio.move_on_after(left_s):
                await bells.either(*tickets)

    def shun(self, why: str) -> None:
        """See Connection."""
        self._probes.shun(self.name, why)

    def _unreachable(self, _error: Exception, for_s: float) -> float:
        """See Connection. The probes say what it means, and why."""
        if for_s > CONNECT_S_MAX:
            self._late = f"it could not be connected to for {CONNECT_S_MAX:g} s; gateway.health says more"
            self._changes.ring()
        return min(AGAIN_S_MAX, max(AGAIN_S, for_s / 4))

    def _shut_out(self, refused: GatewayRefused, for_s: float) -> float:
        """See Connection. Its token may be replaced."""
        self._probes.hurry(self.name)
        self._unreachable(refused, for_s)
        return AGAIN_S_MAX

    def _given_up(self, *, patient: bool) -> str:
        """Why nobody waits for it; empty where it may come back. `patient`: or only says nothing."""
        if self._gone or self.ending:
            return self._why
        seen = self._probes.seen.get(self.name)
        if seen is None:
            return "it was removed" if self._probes.followed else ""
        if seen.health == "dead" and (seen.ended or not patient):
            return f"it is dead: {seen.why}"
        return "" if patient else self._late

    async def _row(self) -> AddedGatewayRow | None:
        return await self._world.store.own.read(partial(added_gateways.find, name=self.name))


def _guests(named: Iterable[str], providers: Iterable[str]) -> set[str]:
    """Agents of a configuration, and those of which it has their way to a model alone."""
    prefix = openclaw_gateway.PREFIX
    return {*named, *(each.removeprefix(prefix) for each in providers if each.startswith(prefix))}


def _is_seat(db: Snapshot, agent_id: str) -> bool:
    """Whether the agent may still be given work."""
    row = agents.find(db, agent_id)
    return row is not None and row.state in agent_rules.OPEN
