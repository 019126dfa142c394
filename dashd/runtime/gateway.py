"""One gateway of a swarm's: launched or adopted, connected, watched, ended; all in one holder, in one jail.

    launching ──▶ up ◀──▶ cut off          ──▶ ending ──▶ gone
                  its protocol answers     nothing of its swarm is left, or it failed

The connection (`gateway_connection`) is dialled through the holder. A gateway that has begun anew by itself
has taken up interrupted runs by itself too: it is ended, and another one begins. The next one of its swarm
has its sessions (`gateway_state`), and attempts that were lost with it go on in them.
"""

import contextlib
import dataclasses
import socket
from functools import partial

import msgspec
import trio

from dashd import threads
from dashd.domain.attempt import Ending
from dashd.drivers import Programs, openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import Client, GatewayLost, GatewayRefused
from dashd.jail import holder_link, spool
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.jail.launch import Walls
from dashd.jail.launch_folder import ExitRecord
from dashd.jail.launcher import ForkServerGone, LaunchFailed, LaunchSpec
from dashd.store import agents, attempts, bells, gateways, lifecycle, swarms
from dashd.store.rows import AgentRow, GatewayRow, Snapshot, SwarmRow
from dashd.store.transaction import Tx

from . import attach, gateway_state
from .attach import START_S_MAX, Attached
from .bounds import Bounds
from .gateway_connection import AGAIN_S, DRAIN_S_MAX, Connection, GatewayGone
from .gateway_link import first_run
from .gateway_warmth import REST_S_MAX, WARMING_MAX
from .jails import Asked, Jailed, asked_of
from .world import World

READY_S_MAX = DRAIN_S_MAX
"""From its launch, or the end of a connection, until it can be used: 15 seconds where a core is free, minutes
where none is."""
GRACE_S = 5.0
"""Between TERM and KILL; by then nothing runs in it."""
OUTPUT_BYTES_MAX = 64 << 20
TOKEN_BITS = 256
BASE_BYTES, EACH_BYTES = 3 << 30, 128 << 20
"""Memory of a gateway, and for each agent in it: 20 at work together were seen to take 2 GiB."""
TMP_BYTES = 1 << 30
PIECE_BYTES_MAX = 1 << 20
LEFT_AGAIN_S = 1.0
LEFT_MAX = 200
"""Runs that were stopped, of which is asked whether they have ended."""


class Gateway(Connection):
    """See the module."""

    def __init__(self, world: World, programs: Programs, swarm_id: str, row: GatewayRow | None) -> None:
        """`row` is of one that an earlier daemon had; None: a new one is launched, of what `programs` has."""
        super().__init__(world)
        self.swarm_id = swarm_id
        self.grade: str | None = None
        self.shown: str | None = None
        self._programs = programs
        self._row = row
        self._unborn = False
        self._done = False  # nothing of its swarm is left to do: its end is nobody's news
        self._spool_offset = 0
        self._rest = b""
        self._bounds: Bounds | None = None

    @property
    def launch_id(self) -> str:
        """Of its process."""
        assert self._row is not None, "it is not launched yet"
        return self._row.launch_id

    @property
    def door(self) -> str:
        """See Connection."""
        return self.launch_id

    @property
    def launched(self) -> bool:
        """Whether it has a launch yet."""
        return self._row is not None

    @property
    def is_up(self) -> bool:
        """It has let dashd in, and has not ended."""
        return self._row is not None and self._row.boot_id is not None and not self.ending

    def has(self, launch_id: str) -> bool:
        """Whether it is the gateway of this launch."""
        return self._row is not None and self._row.launch_id == launch_id

    async def never_began(self) -> bool:
        """Whether an earlier daemon died before it had begun; returns as soon as that is known."""
        while self._client is None and not self._gone:
            await self._changes.ticket().wait()
        return self._gone and self._unborn

    async def add(self, agent_id: str, _tag: str = "") -> None:
        """See Connection; with it go all that joined its swarm since."""
        async with self._adding:
            client = await self.connected()
            if openclaw_gateway.agent_name(agent_id) in self._known:
                return
            await self._pace.turn()
            swarm, seats = await self._world.store.own.read(self._read)
            fresh = [seat for seat in seats if openclaw_gateway.agent_name(seat.id) not in self._known]
            await client.patch(openclaw_gateway.change(await self._seats(swarm, fresh)))
            self._known |= {openclaw_gateway.agent_name(seat.id) for seat in fresh}

    def enter(self, tx: Tx, launch_id: str, boot_id: str | None) -> None:
        """See Connection; none of Dash's own begins again."""
        gateways.enter(tx, launch_id, self.launch_id)
        if self.grade is not None:
            attempts.set_walls(tx, launch_id, self.grade, self.shown)

    def give_up(self, why: str) -> bool:
        """See Connection."""
        self.end(why)
        return True

    def shun(self, _why: str) -> None:
        """Nothing: what its swarm's agents do can go nowhere else."""

    # -- its life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From its launch, or adoption, to its end, which is written down. Cancelled, it lets go."""
        fresh = self._row is None
        try:
            attached = await (self._launch() if fresh else self._attach())
        except LaunchFailed as error:
            attached = Ending("never", f"could not start: {error}")
        while isinstance(attached, HolderLink):
            try:
                attached = await self._keep(attached)
            except HolderGone:
                attached = await self._attach()
        if isinstance(attached, ExitRecord) and attached.reason == "start":
            self._world.jails.doubt()
        self._unborn |= not fresh and isinstance(attached, Ending) and attached.state == "never"
        if not self._why and not self._done:
            self._why = attached.reason if isinstance(attached, Ending) else _how(attached)
        self.ending = self._gone = True
        if self._row is not None:
            await self._world.commit(self._write_end)
            await self._doors.close(self.launch_id)
        self._changes.ring()

    async def _launch(self) -> Attached:
        walls = await self._world.jails.walls()
        if walls.grade not in ("A", "B"):
            raise LaunchFailed(f"a gateway needs a jail with a network of its own: {walls.why}; {walls.fix}")
        if (lack := await threads.run(self._programs.lack, "openclaw")) is not None:
            raise LaunchFailed(f"{lack.text}; {lack.hint}")
        swarm, seats = await self._world.store.own.read(self._read)
        token = f"{self._world.clock.token(TOKEN_BITS):064x}"
        self._row = await self._world.commit(partial(gateways.insert, swarm_id=self.swarm_id, token=token))
        state = await gateway_state.begin(self._world, self.swarm_id)
        asked = _asked(self._world, swarm, len(seats))
        self._bounds = Bounds(self._world.watchdog, asked, self._world.folder(self.launch_id))
        await self._bounds.start(walls.grade)
        jailed, spec = self._spec(swarm, walls, await self._world.jails.guarding(walls, asked))
        self.grade, self.shown = jailed.grade, jailed.shown
        try:
            found = await self._seats(swarm, seats)
        except GatewayLost as lost:
            raise LaunchFailed(str(lost)) from None
        told = openclaw_gateway.told(self._programs, found, token, state)
        self._world.points.at("gateway.before_launch")
        with trio.move_on_after(START_S_MAX), contextlib.suppress(ForkServerGone, HolderGone):
            link = await self._world.launcher.launch_adopted(spec, self._world.epoch)
            await attach.serve_kept(link, self._serve_kept)
            self._world.points.at("gateway.after_launch")
            await link.send_input(1, told, eof=True)
            self._world.points.at("gateway.after_told")
            await self._world.commit(
                partial(attempts.set_walls, launch_id=self.launch_id, grade=jailed.grade, jail=jailed.shown)
            )
            return await attach.unless_over(link)
        return await self._attach()

    def _spec(self, swarm: SwarmRow, walls: Walls, asked: Asked) -> tuple[Jailed, LaunchSpec]:
        command = openclaw_gateway.command(self._programs, swarm.cwd, self._world.environ)
        folder = self._world.folder(self.launch_id)
        jailed = self._world.jails.jailed(walls, asked, command, folder, port=None, listener=True)
        return jailed, LaunchSpec(
            launch_id=self.launch_id,
            argv=command.argv,
            env=dict(jailed.env),
            cwd=command.cwd,
            jail=jailed.jail,
            stdin=True,
            lease_s=swarm.lease_s,
            grace_s=GRACE_S,
            output_bytes_max=OUTPUT_BYTES_MAX,
            crash_at=self._world.points.of_launch(),
        )

    async def _attach(self) -> Attached:
        """Takes over what there is of it; one that was never told its configuration is of no use."""
        found = await attach.attach(self._world, self.launch_id, self._serve_kept)
        if isinstance(found, HolderLink):
            swarm, seats = await self._world.store.own.read(self._read)
            row = await self._world.store.own.read(partial(attempts.launch, launch_id=self.launch_id))
            self.grade, self.shown = row.grade, row.jail
            folder = self._world.folder(self.launch_id)
            asked = _asked(self._world, swarm, len(seats))
            self._bounds = self._bounds or Bounds(self._world.watchdog, asked, folder)
            if found.adopted.input == 0:
                self._unborn = True
                self.end("dashd went away before it had told it what to do")
        return found

    async def _serve_kept(self, listener: socket.socket) -> None:
        await self._doors.serve(self.launch_id, listener)

    async def _keep(self, link: HolderLink) -> ExitRecord:
        """Until the end of its process. Raises HolderGone where the holder is no more."""
        assert self._bounds is not None
        self.link = link
        record = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._bounds.keep, link, self.grade)
                nursery.start_soon(self._stay_connected)
                nursery.start_soon(self._end_with_its_swarm, link)
                nursery.start_soon(self._end_what_is_left)
                for _ in range(WARMING_MAX):
                    nursery.start_soon(self._keep_warm)
                record = await self._listen(link)
                nursery.cancel_scope.cancel(reason="the gateway has ended, or its holder has")
        finally:
            self._cut_off()
            await link.aclose()
        if record is None:
            raise HolderGone(f"the holder of {self.launch_id} closed its connection")
        return record

    async def _listen(self, link: HolderLink) -> ExitRecord | None:
        await self._read_log(link.adopted.spool_bytes)
        while True:
            try:
                message = await link.receive()
            except HolderGone:
                return None
            match message:
                case holder_link.SpoolGrew(spool_bytes):
                    await self._read_log(spool_bytes)
                case holder_link.Exited(record):
                    return record

    async def _keep_warm(self) -> None:
        """Warms one seat after the other that has nothing to do, until it is ending."""
        with contextlib.suppress(GatewayGone):
            while True:
                client = await self.connected()
                tickets = self._world.store.bells.queue.ticket(), self.warmth.entries.ticket()
                seats = await self._world.store.own.read(partial(agents.unneeded, swarm_id=self.swarm_id))
                named = {openclaw_gateway.agent_name(seat_id): seat_id for seat_id in seats}
                if not (cold := self.warmth.cold(named)):
                    await bells.either(*tickets)
                    continue
                try:
                    await self.add(named[cold[0]])
                    async with self.starts:
                        if self.warmth.cold(cold[:1]):
                            await self.warmth.make_warm(client, cold[0], self.launch_id)
                except GatewayRefused:
                    self.warmth.leave(cold[0])
                except GatewayLost:
                    await trio.sleep(AGAIN_S)

    async def _end_what_is_left(self) -> None:
        """Ends runs that were given up while it was too busy for that; where it cannot, it ends with them."""
        with contextlib.suppress(GatewayGone):
            since = trio.current_time()
            while True:
                ticket = self.warmth.left.ticket()
                try:
                    await self.warmth.end_left(await self.connected())
                except trio.TooSlowError:
                    return self.end(f"a run in it could not be ended within {REST_S_MAX:g} s")
                except GatewayLost:
                    await trio.sleep(AGAIN_S)
                except GatewayRefused as refused:
                    if trio.current_time() > since + DRAIN_S_MAX:
                        return self.end(f"whether a run in it has ended is not known: {refused}")
                    await trio.sleep(refused.retry_after_s or LEFT_AGAIN_S)
                else:
                    await ticket.wait()
                    since = trio.current_time()

    async def _end_with_its_swarm(self, link: HolderLink) -> None:
        with contextlib.suppress(HolderGone):  # whoever listens to it hears of that too
            while not self.ending:
                tickets = self._world.store.bells.swarms.ticket(), self._changes.ticket()
                if await self._world.store.own.read(partial(gateways.is_idle, swarm_id=self.swarm_id)):
                    self._done = True
                    self.end("")
                    break
                await bells.either(*tickets)
            await link.stop(GRACE_S)

    # -- the connection ------------------------------------------------------------------------------------

    async def _greet(self, client: Client) -> set[str] | None:
        """See Connection."""
        assert self._row is not None
        known, boot_id = self._row.boot_id, client.hello.server.boot_id
        if known not in (None, boot_id):
            self.end("it began again by itself")
            return None
        if known is None:
            await self._world.commit(partial(self._write_up, client.hello))
        elif not self._known:  # an earlier daemon's, which may have left runs to end
            for agent_id, session, first in await self._world.store.own.read(self._sessions_left):
                agent = openclaw_gateway.agent_name(agent_id)
                self.warmth.leave_working(agent, session, first, first=True)
        return await client.agents()

    def _sessions_left(self, db: Snapshot) -> list[tuple[str, str, str]]:
        """(agent, its session, the run that begins it, where that may not be taken yet), oldest first.
        Nothing goes on in one in which a run was told to stop.
        """
        found = []
        for row in reversed(attempts.stopped_within(db, self.launch_id, LEFT_MAX)):
            session = gateways.session_of(db, row).id
            first = first_run(db, row, session)
            found.append((row.agent_id, openclaw_gateway.session_key(row.agent_id, session), first))
        return found

    def _unreachable(self, error: Exception, for_s: float) -> float:
        """See Connection."""
        if for_s > READY_S_MAX:
            self.end(f"it was not ready after {READY_S_MAX:g} s: {error}")
        return AGAIN_S

    def _shut_out(self, refused: GatewayRefused, _for_s: float) -> float:
        """See Connection."""
        self.end(f"it does not let dashd in: {refused}")
        return AGAIN_S

    async def _dial(self) -> trio.SocketStream:
        sock = await holder_link.dial(self._world.folder(self.launch_id), openclaw_gateway.PORT)
        sock.setblocking(False)
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def _read_log(self, spool_bytes: int) -> None:
        folder = self._world.folder(self.launch_id)
        while self._spool_offset < spool_bytes:
            try:
                records, offset = await threads.run(spool.read, folder, self._spool_offset, PIECE_BYTES_MAX)
            except (spool.SpoolCorrupt, OSError):  # hints alone are in it
                return
            if not records:
                return
            self._spool_offset = offset
            *lines, rest = (self._rest + b"".join(data for _, data in records)).split(b"\n")
            self._rest = rest[-PIECE_BYTES_MAX:]
            self._note(lines)

    def _note(self, lines: list[bytes]) -> None:
        for line in lines:
            if found := protocol.raw_error(line):
                self._note_raw(*found)

    # -- rows ----------------------------------------------------------------------------------------------

    async def _token(self) -> str:
        assert self._row is not None
        return self._row.token

    def _read(self, db: Snapshot) -> tuple[SwarmRow, list[AgentRow]]:
        return swarms.get(db, self.swarm_id), agents.open_seats(db, self.swarm_id)

    def _write_up(self, hello: protocol.Hello, tx: Tx) -> None:
        assert self._row is not None
        gateways.set_boot(tx, self._row, hello.server.boot_id)
        self._row = msgspec.structs.replace(self._row, boot_id=hello.server.boot_id)
        data = {"gateway": self.launch_id, "version": hello.server.version}
        tx.emit("gateway.up", swarm=self.swarm_id, data=data)
        tx.ring("queue")  # its swarm's tasks are startable now

    def _write_end(self, tx: Tx) -> None:
        assert self._row is not None
        gateways.set_ended(tx, self._row, self._why)
        if self._row.boot_id is None:
            tx.ring("swarms")  # the sweeper keeps few of those that did not start
        if self._why and self._row.boot_id is not None:  # otherwise nothing has changed: it is tried again
            data = {"gateway": self.launch_id, "reason": self._why}
            tx.emit("gateway.down", swarm=self.swarm_id, data=data)
        lifecycle.settle_swarm(tx, self.swarm_id)


def _asked(world: World, swarm: SwarmRow, seats: int) -> Asked:
    """The walls of all agents together: their folders are the same, what they may use is the sum."""
    asked = asked_of(swarm)
    bounds = dataclasses.replace(
        asked.bounds,
        memory_bytes=max(asked.bounds.memory_bytes, BASE_BYTES + seats * EACH_BYTES),
        processes=asked.bounds.processes * max(1, seats),
        tmp_bytes=max(asked.bounds.tmp_bytes, TMP_BYTES),
        cpu_s=None,
    )
    return gateway_state.shown(world, swarm.id, dataclasses.replace(asked, bounds=bounds))


def _how(record: ExitRecord) -> str:
    if record.breach:
        return record.breach
    if record.reason == "start":
        return f"could not start: {record.error}"
    if record.reason == "lease":
        return "dashd was away longer than its lease"
    return f"it ended (signal {record.signal})" if record.signal else f"it ended (exit code {record.code})"
