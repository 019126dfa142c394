"""One attempt, from its claim to its end: launch or adopt, follow, steer, write down.

The row is the intent, the holder is the world; this brings one to the other. It owns nothing that must
survive: cancelling it lets go of the holder, whose lease starts, and the next daemon continues from row and
folder.
"""

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Sequence
from functools import partial

import trio

from dashd import threads
from dashd.domain import scope as scopes
from dashd.domain.attempt import Ending
from dashd.drivers import Driver
from dashd.drivers.driver import OutputReader
from dashd.jail import holder_link, spool
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.jail.launch import Walls
from dashd.jail.launch_folder import ExitRecord
from dashd.jail.launcher import ForkServerGone, LaunchFailed, LaunchSpec
from dashd.store import agents, attempts, inputs, lifecycle
from dashd.store.queue import Claim
from dashd.store.transaction import Tx

from . import attach, gateway_entry, sessions
from .attach import START_S_MAX, Attached, unless_over
from .bounds import OUTPUT_BYTES_MAX, Bounds
from .doors import OpenDoor
from .gateway_link import GatewayLink
from .jails import Asked, Jailed
from .output import Output
from .plan import Plan, read_plan, work_in
from .steering import Steering
from .talk import Talk
from .verdict import judged
from .wish import Wish
from .working_tree import WorkingTree
from .world import World


class Run:
    """One attempt in the care of this daemon."""

    def __init__(self, world: World, claim: Claim) -> None:
        self.claim = claim
        self.wish = Wish()
        self._world = world
        self._plan: Plan | None = None
        self._jailed: Jailed | None = None
        """Of a launch of this daemon's own."""
        self._bounds: Bounds | None = None
        self._last_talk: Talk | None = None
        self._tree: WorkingTree | None = None
        """Where its swarm has a repository."""
        self._starting = False
        """It has one of the places for programs that are not ready yet."""

    @property
    def plan(self) -> Plan:
        """What the rows said; set by `prepare`."""
        assert self._plan is not None, "prepare() comes first"
        return self._plan

    @property
    def driver(self) -> Driver:
        """Its agent program."""
        return self._world.drivers[self.plan.driver]

    @property
    def bounds(self) -> Bounds:
        """What it may use; set by `prepare`."""
        assert self._bounds is not None, "prepare() comes first"
        return self._bounds

    async def prepare(self) -> None:
        """Reads the rows."""
        await prepare_all(self._world, [self])

    def take(self, plan: Plan) -> None:
        """Takes over what the rows said."""
        self._plan = plan = sessions.planned(self._world, plan)
        if self._bounds is None:  # read again, they are the same, and it may be over one already
            self._bounds = self._bounds_of(plan.asked)
        self._tree = WorkingTree(self._world, self.claim, plan.repo) if plan.repo else None
        if not self.wish.told:  # else the supervisor has read the rows as well, and reads on
            self.wish.set(
                stop=plan.stop, hold=plan.hold, hard=plan.hard, waits=plan.waits, messages=plan.messages
            )

    def _bounds_of(self, asked: Asked) -> Bounds:
        seen = sessions.shown(self._world, self.plan, asked)
        return Bounds(self._world.watchdog, seen, self._world.folder(self.plan.launch_id))

    async def launch(self) -> Attached | None:
        """Starts the program, unless it was told to stop before. None where that is a gateway's part."""
        if self.plan.gateway:
            return None
        if self.wish.stop is None and (refused := await self._enter_tree()) is not None:
            return refused
        if self.driver.printed is None:
            await self._world.starts.acquire()
            self._starting = True
        if self.wish.stop is not None:
            return Ending("never", "stopped before it started")
        self._world.points.at("run.before_launch")
        with trio.move_on_after(START_S_MAX) as limit, contextlib.suppress(ForkServerGone, HolderGone):
            try:
                link = await self._begin()
            except LaunchFailed as error:
                self._world.jails.doubt()  # what it was to stand on may be gone
                return Ending(error.ends, f"could not start: {error}")
            self._world.points.at("run.after_launch")
            return await unless_over(link)
        if limit.cancelled_caught:
            self._world.trouble.say(f"the fork server did not answer for {START_S_MAX:g} s and was replaced")
            self._world.launcher.close()  # the next launch starts another one
        return await self.attach()  # what became of it is in its folder

    async def _enter_tree(self) -> Ending | None:
        """Has the attempt work in its workspace, if it is to have one; how it ended if that failed."""
        if self._tree is None:
            return None
        found = await self._tree.enter(self.plan.asked, self.plan.cwd, self.wish)
        if isinstance(found, Ending):
            return found
        work = work_in(self.plan.work, found.cwd, found.asked)
        self._plan = dataclasses.replace(self.plan, work=work, asked=found.asked)
        self._bounds = self._bounds_of(found.asked)
        return None

    async def _begin(self) -> HolderLink:
        """Has the program started, behind its walls, with a way to a model where it needs one."""
        walls = await self._world.jails.strong() if self.plan.asked.required else Walls("0")
        asked = await self._world.jails.guarding(walls, self.plan.asked)
        self._plan = dataclasses.replace(self.plan, asked=asked)
        await sessions.begin(self._world, self.plan)
        await self.bounds.start(walls.grade)
        if not self._needs_door:
            return await self._world.launcher.launch_adopted(self._spec(walls, None), self._world.epoch)
        inside = self.plan.asked.required and walls.grade in ("A", "B")
        try:
            door = await self._world.doors.open(
                self.claim, self.plan.model, inside=inside, calls=self.driver.needs_model
            )
        except OSError as error:
            raise LaunchFailed(f"no way to a model: {error.strerror}") from None
        with door.listener or contextlib.nullcontext():
            spec = self._spec(walls, door)
            link = await self._world.launcher.launch_adopted(spec, self._world.epoch, door.listener)
        await attach.serve_kept(link, self._serve_kept)
        return link

    @property
    def _needs_door(self) -> bool:
        """It calls a model, or goes out to hosts."""
        hosts = self.plan.asked.required and scopes.reached_hosts(self.plan.asked.scope)
        return self.driver.needs_model or bool(hosts)

    async def attach(self) -> Attached:
        """Takes over what there is of the launch; where nothing was executed, nothing ever will be."""
        if self.plan.gateway:
            return await gateway_entry.enter_unless_stopped(self._world, self.claim, self.plan, self.wish)
        return await attach.attach(self._world, self.plan.launch_id, self._serve_kept)

    async def _serve_kept(self, listener: socket.socket) -> None:
        await self._world.doors.resume(self.claim, listener, calls=self.driver.needs_model)

    async def serve(self, attached: Attached | None) -> None:
        """Follows the attempt to its end, writes that down. Cancelled, it lets go and the agent lives on.

        None stands for a holder of an earlier daemon's that has not answered yet.
        """
        if attached is None:
            attached = await self.attach()
            if isinstance(attached, HolderLink):
                adopted = not self.plan.gateway or self.plan.begun
                await self._world.commit(partial(self.started, link=attached, adopted=adopted))
        while isinstance(attached, HolderLink):
            try:
                attached = await self._follow(attached)
            except HolderGone:
                if self.plan.gateway:  # nobody knows, until there is another connection
                    unknown = partial(agents.set_liveness, agent_id=self.claim.agent_id, liveness="unknown")
                    await self._world.commit(unknown)
                await self.prepare()  # the rows know how long it has run and how far it was read
                attached = await self.attach()
        await self._end(attached)

    def give_way(self) -> None:
        """Lets the next program start that takes long to; harmless where this one has no such place."""
        if self._starting:
            self._starting = False
            self._world.starts.release()

    def _talk(self) -> tuple[Talk | None, OutputReader]:
        """(the conversation with its program, who reads what it prints)."""
        if (printed := self.driver.printed) is not None:
            return None, printed.reader()
        conversation = self.driver.conversation(self.plan.work, self.plan.journal.history())
        assert conversation is not None, "a driver talks, or it does not"
        plan, spooled = self.plan, not self.plan.gateway
        talk = Talk(self._world, self.claim, plan.launch_id, conversation, plan.journal, spooled=spooled)
        return talk, talk.reading

    def started(self, tx: Tx, link: HolderLink, *, adopted: bool = False) -> None:
        """Writes down that the program runs, and that it was taken over from an earlier daemon."""
        found = link.adopted
        if self._jailed is not None:
            attempts.set_walls(tx, self.plan.launch_id, self._jailed.grade, self._jailed.shown)
        lifecycle.attempt_started(
            tx, self.claim.attempt_id, pid=found.pid, start_time=found.start_time, boot_id=found.boot_id
        )
        sessions.opened(tx, self.claim, self.plan)
        agents.set_liveness(tx, self.claim.agent_id, "alive")
        if adopted:
            where = {"swarm": self.claim.swarm_id, "agent": self.claim.agent_id, "task": self.claim.task_id}
            tx.emit("agent.adopted", **where, data={"pid": found.pid})
        paused = found.state == "paused" or (self.driver.pause == "soft" and self.plan.hold)
        lifecycle.set_paused(tx, self.claim.attempt_id, paused=paused)

    async def _follow(self, link: HolderLink) -> ExitRecord:
        """Until the program's end; raises HolderGone where the holder is no more."""
        talk, reader = self._talk()
        self._last_talk = talk
        output = Output(
            self._world,
            self.claim,
            self.plan.launch_id,
            reader,
            self.plan.spool_offset,
            replay=talk is not None,
        )
        steering = Steering(self._world, self.claim, self.plan, self.driver, self.wish, link, talk)
        try:
            self._world.points.at("run.after_adopt")
            await self._world.commit(lambda tx: self.started(tx, link))
            self._world.points.at("run.after_started")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(output.publish)
                nursery.start_soon(steering.carry)
                if isinstance(link, GatewayLink):
                    nursery.start_soon(link.carry, output, talk)
                else:
                    nursery.start_soon(self.bounds.keep, link, self.plan.grade)
                record = await self._listen(link, steering, output, talk, nursery)
                nursery.cancel_scope.cancel(reason="the attempt has ended, or its holder has")
            if record is None:
                raise HolderGone(f"the holder of {self.plan.launch_id} closed its connection")
            self._world.points.at("run.after_exit")
            await output.finish()
            return record
        finally:
            await link.aclose()

    async def _listen(
        self,
        link: HolderLink,
        steering: Steering,
        output: Output,
        talk: Talk | None,
        nursery: trio.Nursery,
    ) -> ExitRecord | None:
        """Until the program's end; None where the holder is gone (a nursery would wrap an exception)."""
        steering.begin()
        await self._hear(link, output, talk, link.adopted.spool_bytes)
        if talk is not None:  # not before it knows all that was printed
            nursery.start_soon(talk.carry, link, self.wish, self.give_way)
        while True:
            try:
                message = await link.receive()
            except HolderGone:
                return None
            match message:
                case holder_link.SpoolGrew(spool_bytes):
                    await self._hear(link, output, talk, spool_bytes)
                case holder_link.OutputLost(lost_bytes) if talk is not None:
                    await self.bounds.hear(link, output.heard_bytes, lost_bytes)
                case holder_link.InputTaken() if talk is not None:
                    talk.taken(message)
                case holder_link.Paused(stopped):
                    await steering.heard(stopped=stopped)
                case holder_link.Exited(record):
                    return record

    async def _hear(self, link: HolderLink, output: Output, talk: Talk | None, spool_bytes: int) -> None:
        await output.grew(spool_bytes)
        if talk is not None:
            if not self.plan.gateway and output.has_read(link.adopted.spool_bytes):
                talk.caught_up()  # in a gateway its link knows
            talk.look()
            await self.bounds.hear(link, output.heard_bytes, link.adopted.lost)

    async def _end(self, how: ExitRecord | Ending) -> None:
        ending = how if isinstance(how, Ending) else await self._read_ending(how)
        if self._tree is None:
            await self._write_end(how, ending, None)
        else:
            async with self._tree.leaving(ending, self.plan.work.item) as (ending, take_in):
                await self._write_end(how, ending, take_in)
        if self.plan.gateway:
            gateway_entry.leave(self._world, self.claim)
        elif self._needs_door:
            await self._world.doors.close(self.claim)
        self._world.growth.ring(self.plan.launch_id)

    async def _write_end(
        self, how: ExitRecord | Ending, ending: Ending, take_in: Callable[[Tx], None] | None
    ) -> None:
        jitter = self._world.jitter()
        talked = await sessions.keep(self._world, self.claim, self.plan)
        executed = isinstance(how, ExitRecord) and how.reason != "start"

        def operation(tx: Tx) -> None:
            if executed:  # it may have been too brief for anybody to see it run
                lifecycle.attempt_started(tx, self.claim.attempt_id)
                sessions.opened(tx, self.claim, self.plan)
            if take_in is not None:
                take_in(tx)
            lifecycle.attempt_ended(tx, self.claim.attempt_id, ending, jitter=jitter)
            talked(tx)
            if missed := inputs.forget(tx, self.claim.attempt_id, self.plan.launch_id):
                self._say_missed(tx, missed)

        self._world.points.at("run.before_end")
        await self._world.commit(operation)
        self._world.points.at("run.after_end")

    def _say_missed(self, tx: Tx, numbers: list[int]) -> None:
        """Messages were taken for it when it had nothing more to hear: whoever sent them should know."""
        claim = self.claim
        data = {"messages_too_late": numbers}
        tx.emit("agent.status", swarm=claim.swarm_id, agent=claim.agent_id, task=claim.task_id, data=data)

    async def _read_ending(self, record: ExitRecord) -> Ending:
        if record.reason == "start":
            self._world.jails.doubt()
        if record.reason == "lease":
            return Ending("lost", f"dashd was away longer than its lease of {self.plan.lease_s:g} s")
        try:
            if self.plan.gateway and self._last_talk is not None:
                ending = self._last_talk.conversation.ending(record)
            else:
                ending = await judged(self._world, self.plan, record)
        except spool.SpoolCorrupt:
            return Ending("failed", "its output file is damaged, so its result is not known")
        dropped = record.spool_dropped
        ending = dataclasses.replace(
            ending, result_cut=ending.result_cut or dropped > 0, output_dropped=dropped
        )
        if record.reason == "start" and self._jailed is not None:
            hidden = await threads.run(self._jailed.hidden)
            ending = dataclasses.replace(ending, reason="; ".join(filter(None, (ending.reason, hidden))))
        if self.wish.stop == "timeout" and ending.state == "failed":
            ending = dataclasses.replace(ending, reason=f"ran longer than {self.plan.work.timeout_s:g} s")
        return self.bounds.explained(ending, record.breach, stopped=self.wish.stop is not None)

    def _spec(self, walls: Walls, door: OpenDoor | None) -> LaunchSpec:
        isolated = self.plan.asked.required and walls.grade in ("A", "B")
        work = dataclasses.replace(self.plan.work, model=door.access if door else None, isolated=isolated)
        command = self.driver.command(work, self._world.environ)
        command = dataclasses.replace(command, env={**command.env, **(door.environ if door else {})})
        self._jailed = jailed = self._world.jails.jailed(
            walls,
            sessions.shown(self._world, self.plan, self.plan.asked),
            command,
            self._world.folder(self.plan.launch_id),
            port=door.listener.getsockname()[1] if door and door.listener else None,
            listener=door is not None,
        )
        return LaunchSpec(
            launch_id=self.plan.launch_id,
            argv=command.argv,
            env=dict(jailed.env),
            cwd=command.cwd,
            jail=jailed.jail,
            stdin=command.stdin,
            lease_s=self.plan.lease_s,
            grace_s=self.plan.grace_s,
            output_bytes_max=OUTPUT_BYTES_MAX,
            session_lock=sessions.lock(self._world, self.plan),
            crash_at=self._world.points.of_launch(),
        )


async def prepare_all(world: World, runs: Sequence[Run]) -> None:
    """Reads the rows of all these attempts at once: a hundred reads would be a hundred hops to a thread."""
    steady_ms = world.clock.steady_ms()
    claims = [run.claim for run in runs]
    found = await world.store.own.read(lambda db: [read_plan(db, claim, steady_ms) for claim in claims])
    for run, told in zip(runs, found, strict=True):
        run.take(told)
