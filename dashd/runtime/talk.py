"""The conversation with a program that runs: carries its inputs out, each written down before it is sent.

The rows are the memory: after a crash a new conversation is fed all output again, together with what was told
from outside at the place where it was heard, and comes to the same inputs. A key that has a row has a number,
and a number that the holder has is dropped there, so nothing is lost and nothing said twice.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from dashd.drivers import Driver
from dashd.drivers.driver import Asks, Conversation, Input, Stage, Told, ToldKind, Work
from dashd.jail import spool
from dashd.jail.holder_link import HolderGone, HolderLink, InputTaken
from dashd.store import approvals, inputs, lifecycle
from dashd.store.inputs import InputRow
from dashd.store.queue import Claim
from dashd.store.transaction import Tx

from .active_time import ActiveTime
from .asks import Asks as Judge
from .journal import Journal, Reading, word
from .wish import Wish
from .world import World

LEAVING_SHARE = 0.5
"""Of the grace: what a program gets to end in an orderly way, before its tree is told to."""
PIECE_BYTES_MAX = 1 << 20
_HEARD: dict[str, ToldKind] = {"step": "message", "after": "after", "now": "now"}


class Talk:
    """One conversation, for as long as this daemon has the holder."""

    def __init__(
        self,
        world: World,
        claim: Claim,
        launch_id: str,
        conversation: Conversation,
        journal: Journal,
        *,
        spooled: bool = True,
    ) -> None:
        """`spooled`: what it reads is kept, and can be read again."""
        self.conversation = conversation
        self.reading = Reading(conversation, journal.heard())
        """Where it is fed."""
        self._world = world
        self._claim = claim
        self._launch_id = launch_id
        self._rows = list(journal.rows)
        self._keys = {row.key for row in journal.rows}
        self._told: dict[str, str] = {}
        self._breaks: set[str] = set()
        """What it is told so that it breaks off what it is at."""
        self._turns = journal.turns
        self._spooled = spooled
        self._sent = 0
        self._was_full = False
        self._bell = trio.Event()
        self._caught_up = trio.Event()

    def look(self) -> None:
        """Output was read, or something was told: there may be more to say."""
        self._bell.set()
        self._bell = trio.Event()

    def tell(self, told: Told) -> None:
        """Has the conversation hear of it; one that was heard of before is passed over."""
        if told.key not in self._keys:
            fed = self.reading.fed if self._spooled else None
            self._told.setdefault(told.key, word(told, fed, self._turns))
            self._turns += 1
            if told.kind == "now":
                self._breaks.add(told.key)
            self.conversation.tell(told)
            self.look()

    def taken(self, message: InputTaken) -> None:
        """The holder has said what it has; what it had no room for is sent again when it has."""
        if self._was_full and not message.full:
            self._sent = min(self._sent, message.last)
            self.look()
        self._was_full = message.full

    async def carry(self, link: HolderLink, wish: Wish, ready: Callable[[], None]) -> None:
        """Says what there is to say, from where an earlier daemon has left off, until cancelled.

        `ready` is called once the program is, or will never be, or while the kernel has stopped it: others
        may start then.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.speak, link)
            nursery.start_soon(self.watch, link, wish)
            nursery.start_soon(self.hear, wish)
            nursery.start_soon(self.answer, nursery)
            while self.conversation.starting and not (wish.hold and wish.hard):
                await self._bell.wait()
            ready()

    async def speak(self, link: HolderLink) -> None:
        """Writes down and sends what there is to say, until cancelled or the holder is gone."""
        self._sent = link.adopted.input
        with contextlib.suppress(HolderGone):  # whoever listens to it hears of that too, and decides
            while True:
                bell = self._bell
                await self._write_down()
                await self._send(link)
                await bell.wait()

    async def hear(self, wish: Wish) -> None:
        """Passes on what people say to the agent, until cancelled."""
        last = 0
        while True:
            ticket = wish.ticket()
            if wish.messages > last:
                query = partial(inputs.messages, attempt_id=self._claim.attempt_id, after=last)
                for row in await self._world.store.own.read(query):
                    kind = "compact" if row.compacts else _HEARD[row.heard]
                    self.tell(Told(kind, f"{inputs.MESSAGE_KEY}{row.number}", row.text))
                    last = row.number
            await ticket.wait()
            self.look()  # it may have been stopped, or let go on

    async def answer(self, nursery: trio.Nursery) -> None:
        """Has scope, gates and people decide about what it asks, until cancelled.

        A question that was answered before a crash has its answer among the rows; others are asked again
        under their names, and find their requests.
        """
        seen = 0
        while True:
            bell = self._bell
            for asks in self.conversation.asks[seen:]:
                if asks.key not in self._keys:
                    nursery.start_soon(self._decide, asks)
            seen = len(self.conversation.asks)
            await bell.wait()

    async def _decide(self, asks: Asks) -> None:
        verdict = "allow"
        for ask in asks.asks:
            if (await Judge(self._world).answer(self._claim, ask)).decision == "deny":
                verdict = "deny"
                break
        self.tell(Told("answer", asks.key, verdict))

    async def watch(self, link: HolderLink, wish: Wish) -> None:
        """Ends what takes longer at a stage than it may, until cancelled; while it is stopped none counts."""
        while True:
            stage = self.conversation.stage
            left = ActiveTime(stage.limit_s or float("inf"))
            while self.conversation.stage is stage and trio.current_time() < left.deadline:
                bell = self._bell
                if wish.hold and wish.hard:
                    left.hold()
                else:
                    left.run()
                with trio.move_on_at(left.deadline):
                    await bell.wait()
            if self.conversation.stage is stage:
                await self._expire(link, stage)

    async def _expire(self, link: HolderLink, stage: Stage) -> None:
        self.tell(Told("expire", f"expire:{stage.name}", stage.name))
        if self.conversation.stage is stage:  # it was leaving already, and does not
            with contextlib.suppress(HolderGone):
                await link.stop(0.0)
            await trio.sleep_forever()

    def caught_up(self) -> None:
        """It has been fed all that was printed before this daemon had the holder."""
        self._caught_up.set()

    async def leave(self) -> None:
        """The attempt was told to stop: it is told once it knows what was printed before. It may have ended
        then, and a word is kept with where it was heard.
        """
        await self._caught_up.wait()
        self.tell(Told("leave", "leave"))

    async def _send(self, link: HolderLink) -> None:
        while self._sent < len(self._rows):  # numbers count from 1
            row = self._rows[self._sent]
            self._sent = row.number  # before it is: while it is sent the holder may say that it has less
            await link.send_input(row.number, row.data, eof=bool(row.eof))
            self._world.points.at("talk.after_send")

    async def _write_down(self) -> None:
        fresh = [each for each in self.conversation.inputs if each.key not in self._keys]
        if not fresh:
            return
        made = [self._row(number, each) for number, each in enumerate(fresh, len(self._rows) + 1)]
        self._world.points.at("talk.before_commit")
        broken = self._claim.agent_id if any(row.key in self._breaks for row in made) else ""
        await self._world.commit(partial(_insert, rows=made, broken_off=broken))
        self._world.points.at("talk.after_commit")
        self._rows += made
        self._keys |= {row.key for row in made}

    def _row(self, number: int, made: Input) -> InputRow:
        return InputRow(self._launch_id, number, made.key, made.data, int(made.eof), self._told.get(made.key))


def _insert(tx: Tx, rows: Sequence[InputRow], broken_off: str) -> None:
    """`broken_off` is the agent whose work that is; the calls that it waits for a yes about go with it."""
    for row in rows:
        inputs.insert(tx, row)
    if broken_off:
        approvals.withdraw(tx, agent_id=broken_off, why="what it was at was broken off")
        lifecycle.count_time(tx, broken_off)


def replayed(driver: Driver, work: Work, journal: Journal, folder: Path) -> Conversation | None:
    """The conversation as it stands after all that was printed; None for a driver without any.

    Blocking. Raises spool.SpoolCorrupt.
    """
    conversation = driver.conversation(work, journal.history())
    if conversation is None:
        return None
    reading, offset = Reading(conversation, journal.heard()), 0
    while True:
        records, after = spool.read(folder, offset, PIECE_BYTES_MAX)
        if after == offset:
            break
        for stream, payload in records:
            reading.feed(stream, payload)
        offset = after
    return conversation
