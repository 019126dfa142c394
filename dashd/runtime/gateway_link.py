"""An attempt in a gateway, as a run sees it: like a holder's link, over requests instead of a socket.

What a jailed attempt's runner would print is said here, made of the gateway's answers: `ready`, then for each
input a turn, and how it ended. A turn is a run of the gateway's whose id is made of attempt and input, and
written down before it is sent; asked again after a crash, the gateway says how it stands, and nothing runs
twice: of the turns that were given before, only the last one may not be over. Events are hints: that it has
begun, which tool works.
"""

import contextlib
import json
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import Client, GatewayLost, GatewayRefused
from dashd.drivers.openclaw_conversation import NOT_TAKEN
from dashd.drivers.openclaw_turns import ERROR_CHARACTERS_MAX, TEXT_CHARACTERS_MAX
from dashd.jail.holder_link import Adopted, Exited, HolderGone, HolderLink, Message
from dashd.jail.launch_folder import ExitRecord
from dashd.store import attempts
from dashd.store.queue import Claim
from dashd.store.rows import AttemptRow, Snapshot

from .gateway_connection import Connection, GatewayGone
from .gateway_log import GatewayLog
from .gateway_refusals import TAKE_S_MAX, aborted, answered, asked_again, repeated, until_begun
from .gateway_turns import Turn, Turns
from .output import Output
from .talk import Talk

RAW_S_MAX = 2.0
"""For the gateway's log to say why a call failed, once the run has."""
BEGIN_S_MAX = 60.0
"""How long an agent's first run may keep others from theirs."""
ABORT_S_MAX = 30.0
UNBEGUN_S = 0.5
"""Before a turn is given once more in whose session somebody else began to work."""
FIRST = "turn:1"
"""The attempt's first turn, as its conversation calls it."""
UNANSWERED = "it does not say whether it takes a run that it was asked for"
NOT_HEARD = protocol.Waited("error", error="it ended while nobody listened")
Say = Callable[[bytes], None]


def run_of(attempt_id: str, turn: str) -> str:
    """How the gateway knows a turn of the attempt."""
    return f"{attempt_id}:{turn}"


def first_run(db: Snapshot, row: AttemptRow, session: str) -> str:
    """Of an attempt that is over, the run that was to begin its session, by the launch that did, and may not
    have been taken yet. Empty where the session is another's, where it was never asked for, where it ended by
    itself, and where the agent's next attempt has started: none does before that run is known to be over.
    """
    if session != row.launch_id or row.started_at_ms is None or (row.stop is None and row.state != "lost"):
        return ""
    open_ = attempts.open_of_agent(db, row.agent_id)
    is_in = open_ is not None and open_.started_at_ms is not None
    return "" if is_in else run_of(row.id, FIRST)


class GatewayLink(HolderLink):
    """See the module. `carry` does the work; the rest is what `Run` asks of a holder."""

    def __init__(
        self,
        gateway: Connection,
        claim: Claim,
        session: str,
        replayed: int,
        boot_id: str | None = None,
        tag: str = "",
        *,
        log: GatewayLog,
        resumed: bool = False,
        again: bool = False,
    ) -> None:
        """Use `gateway_entry.enter`. The first `replayed` inputs may have been given before; `session` is the
        launch that began its session, and `resumed` says that there is something in it; `again`, that there
        is not, and another attempt was lost. `boot_id` is of the gateway's start in which it runs, and `tag`
        of the one in which its session began, where another one may follow. `log` keeps what is said, for
        people.
        """
        self.listener = None
        process = gateway.link.adopted if gateway.link else Adopted("running", 0, 0, 0, 0, "", None)
        self.adopted = Adopted("running", 0, 0, process.pid, process.start_time, process.boot_id, None)
        self._gateway = gateway
        self._claim = claim
        self._boot_id = boot_id
        self._agent = openclaw_gateway.agent_name(claim.agent_id, tag)
        self._session = openclaw_gateway.session_key(claim.agent_id, session, tag)
        self._log = log
        self._begins = {"resumed": resumed, "again": again}
        self._turns = Turns(replayed)
        self._ends = False
        self._bell = trio.Event()
        self._over = trio.Event()
        self._lost = False
        self._unsure = ""
        """A run that may be taken at any moment, or was: it was asked for, and that has no answer yet."""
        self._answer: trio.Event | None = None
        """For when it has, where it was asked for over this connection."""
        self._leaves = False
        """Nothing is begun any more."""
        self._caught_up = trio.Event()
        """Of what was given before it is known what has ended, and what that came to has been said."""
        self._stopped = False
        self._cold = False

    async def take_turn(self) -> None:
        """Few agents begin at once that have not run in this gateway before: each has it busy for seconds.
        To wait for that is no part of a start, which has a limit.
        """
        if self._agent not in self._gateway.warmth.warm:
            await self._gateway.starts.acquire()
            self._cold = True

    def give_way(self) -> None:
        """Lets the next one begin; harmless where this one does not keep it."""
        if self._cold:
            self._cold = False
            self._gateway.starts.release()

    async def receive(self) -> Message:
        """Nothing until it is over. Raises HolderGone where the connection was lost."""
        await self._over.wait()
        if self._lost:
            raise HolderGone("the connection to the gateway ended")
        record = ExitRecord(
            code=0,
            signal=None,
            reason="stop" if self._stopped else "exit",
            error=None,
            spool_bytes=0,
            spool_dropped=0,
            wall_ms=0,
            cpu_ms=0,
            max_rss_kib=0,
        )
        return Exited(record)

    async def send_input(self, number: int, data: bytes, *, eof: bool = False) -> None:
        """A turn to come, or with `eof` the end, which ends a turn under way."""
        if self._lost:
            raise HolderGone("the connection to the gateway ended")
        self._turns.take(number, data)
        if eof and not self._turns.has_replayed(number):
            await self._abort()
            self._over.set()
        self._ends = self._ends or eof  # what came before it may have ended long ago
        self._ring()

    async def stop(self, grace_s: float) -> None:
        """Ends it at once: nothing of it is to be saved that the session does not have."""
        self._stopped = True
        await self._abort()
        self._over.set()

    async def pause(self) -> None:
        """Nothing: of a process that others work in none can be stopped alone; the service refuses it."""
        await trio.lowlevel.checkpoint()

    async def resume(self) -> None:
        """Nothing, as there was nothing to stop."""
        await trio.lowlevel.checkpoint()

    async def breach(self, text: str) -> None:
        """Ends it: bounds are its gateway's, which is told of by itself."""
        await self.stop(0.0)

    async def aclose(self) -> None:
        """Lets go: what runs goes on."""
        self.give_way()
        await trio.lowlevel.checkpoint()

    async def carry(self, output: Output, talk: Talk | None) -> None:
        """Gives one turn after the other, until cancelled; output and talk hear what a runner would print."""

        def say(line: bytes) -> None:
            output.hear(line)
            if talk is not None:
                talk.look()

        _say(say, type="ready", **self._begins)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._log.keep)
            if talk is not None:
                nursery.start_soon(self._say_caught_up, talk)
            await self._give_turns(say)
            nursery.cancel_scope.cancel(reason="it is over, or its connection is lost")

    async def _say_caught_up(self, talk: Talk) -> None:
        await self._caught_up.wait()
        talk.caught_up()

    async def _give_turns(self, say: Say) -> None:
        try:
            while not self._over.is_set():
                bell = self._bell
                while (turn := self._turns.first) is not None:
                    if not turn.replayed:
                        self._caught_up.set()
                    await self._turn(turn, say)
                    self._turns.end()
                if self._turns.all_here:
                    self._caught_up.set()
                if self._ends:
                    self._over.set()
                    break
                await bell.wait()
        except (GatewayLost, GatewayGone):
            self._lost = True
            self._over.set()

    async def _turn(self, told: Turn, say: Say) -> None:
        if told.then is not None:
            await trio.lowlevel.checkpoint()
            _say(say, type="turned", id=told.id, answered=True, then=msgspec.to_builtins(told.then))
            return
        _say(say, type="turn", id=told.id, again=told.replayed)
        run_id = run_of(self._claim.attempt_id, told.id)
        begun = trio.Event()
        forget = self._gateway.hear(run_id, partial(self._heard, say, begun))
        try:
            waited = await self._settled(run_id, told, begun, say)
        except GatewayRefused as refused:  # the run itself was: it has not begun
            if refused.for_now and (told.replayed or told.id != FIRST):  # something may be done
                raise GatewayLost(str(refused)) from None
            self._gateway.shun(str(refused))
            refusal = {"unbegun": refused.for_now, "error": str(refused), "raw": NOT_TAKEN}
            _say(say, type="turned", id=told.id, answered=True, **refusal)
            return
        finally:
            forget()
        if waited.status != "ok" and self._leaves:
            return  # it was aborted
        if waited.sick and self._gateway.give_up(waited.fault):
            raise GatewayGone(waited.fault)
        raw = ""
        if waited.unbegun:
            await trio.sleep(UNBEGUN_S)
        elif waited.sick:  # somebody else's gateway, which nobody here restarts: it is of no use to ask again
            if not self._gateway.renew(self._claim.agent_id, self._agent):
                self._gateway.shun(f"it must be restarted for agent {self._claim.agent_id}: {waited.fault}")
            raw = NOT_TAKEN
        elif waited.fault:
            raw = await self._gateway.raw(run_id, RAW_S_MAX)
        self._log.settle(waited.text, waited.fault)
        unheard = waited is NOT_HEARD and self._ends
        end = {"error": waited.fault[:ERROR_CHARACTERS_MAX], "raw": raw, "changed": waited.unbegun}
        end |= {"unheard": unheard}
        _say(say, type="turned", id=told.id, answered=True, text=waited.text[-TEXT_CHARACTERS_MAX:], **end)

    def _heard(self, say: Say, begun: trio.Event, event: protocol.RunEvent) -> None:
        phase = event.data.get("phase")
        self._log.hear(event)
        if event.stream == "lifecycle" and phase in ("start", "model"):
            _say_begun(say, begun)
        elif event.stream == "tool" and phase == "start":
            _say(say, type="tool", name=str(event.data.get("name", "")))

    async def _settled(self, run_id: str, told: Turn, begun: trio.Event, say: Say) -> protocol.Waited:
        """How the run ended; begun here where it was not before, or GatewayRefused where it is not taken."""
        if told.replayed:
            self._unsure = run_id
        client = await self._gateway.connected(self._boot_id)
        waited = await self._before(client, run_id) if told.replayed else protocol.Waited("timeout")
        if not waited.over and (self._ends or not await self._begin(client, run_id, told.message, begun)):
            _say_begun(say, begun)  # nobody says it again
        while not waited.over:
            waited = await answered(partial(client.wait, run_id))
        begun.set()
        self._note_answer("")
        return waited

    async def _before(self, client: Client, run_id: str) -> protocol.Waited:
        """How a run stands that was asked for before, as far as that was written down."""
        waited = await answered(partial(client.wait, run_id, 0))
        session = await answered(partial(client.describe, self._session)) or protocol.Session()
        if waited.over or session.last_run_id == run_id:
            return waited if waited.over else NOT_HEARD
        self._caught_up.set()
        if self._ends and not session.works:  # nobody asks for it again, and it may be taken yet
            self._gateway.warmth.leave_working(self._agent, self._session, run_id)
            return NOT_HEARD
        return waited

    async def _start(self, client: Client, run_id: str, message: str) -> bool:
        """Asks for the run: False where it had been begun before. Until that is answered it may begin at any
        moment, whoever waits for it or not.
        """
        if self._leaves:
            await trio.sleep_forever()  # it is over in a moment
        before, self._unsure, self._answer = self._unsure, run_id, trio.Event()
        try:
            fresh = await client.start(self._agent, self._session, run_id, message)
        except GatewayRefused:
            self._note_answer(before)  # asked for before that, it may be taken for all that
            raise
        self._note_answer("")
        return fresh

    def _note_answer(self, unsure: str) -> None:
        self._unsure = unsure
        if self._answer is not None:
            self._answer.set()

    async def _begin(self, client: Client, run_id: str, message: str, begun: trio.Event) -> bool:
        """False where it had been begun before."""
        start = partial(self._start, client, run_id, message)
        fresh: bool | None = None
        with trio.move_on_after(BEGIN_S_MAX if self._cold else float("inf")):
            fresh = await repeated(start, TAKE_S_MAX)
            if fresh and self._cold:
                await until_begun(client, run_id, begun)
        self.give_way()
        if fresh is None:
            fresh = await asked_again(start)
        self._gateway.warmth.warm.add(self._agent)
        return fresh

    async def _abort(self) -> None:
        """Ends what runs in the session; a gateway that is gone has ended it already. One that stands still
        is ended where it is Dash's own; in one that is only slow the run is left to end, or to begin first,
        and the agent's next attempt waits for that.
        """
        self._leaves = True
        since = trio.current_time()
        with trio.move_on_after(ABORT_S_MAX) as limit:  # what it is about to take cannot be ended before
            await self._until_answered()
        if not self._turns.may_work:
            return
        why = UNANSWERED if limit.cancelled_caught else await self._aborted(limit.deadline)
        if why and (
            self._gateway.has_spoken(since)
            or not self._gateway.give_up(f"a run in it could not be ended: {why}")
        ):
            self._gateway.warmth.leave_working(self._agent, self._session, self._unsure)

    async def _aborted(self, deadline: float) -> str:
        connected = partial(self._gateway.connected, self._boot_id)
        with contextlib.suppress(GatewayGone):  # it has ended it
            return await aborted(connected, self._session, deadline, lambda: self._unsure)
        return ""

    async def _until_answered(self) -> None:
        """It is known whether it took the run that it was asked for, and how an earlier daemon's stands."""
        await self._caught_up.wait()
        if self._answer is not None:
            await self._answer.wait()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()


def _say_begun(say: Say, begun: trio.Event) -> None:
    if not begun.is_set():
        begun.set()
        _say(say, type="begun")


def _say(say: Say, **frame: object) -> None:
    say(json.dumps(frame).encode() + b"\n")
