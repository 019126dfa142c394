"""The money's invariants through the whole proxy, against a provider that does what it likes within a
call's hold: eight clients at once, hang-ups, missing and repeated usage, cuts, stalls, errors, and a budget
that runs out. Seeded, so a failure repeats.

Every invariant of the money, and the tests that show it; paths are below tests/.

I1 held + spent <= limit, but for a recorded overrun or a lowered limit, at every node in every snapshot
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_invariants.py::test_whatever_the_provider_does_no_limit_is_passed
    proxy/test_ledger.py::test_random_calls_pass_no_limit_at_any_snapshot
    proxy/test_settling.py::test_an_overrun_is_charged_written_down_and_freezes
    proxy/test_tree_of_money.py::test_any_interleaving
I2 held and spent are the sums of the holds at and below a node
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_tree_of_money.py::test_any_interleaving
I3 a node has spent at least what its children have
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_tree_of_money.py::test_any_interleaving
I4 settling twice is settling once
    proxy/test_settling.py::test_settling_twice_is_settling_once
    proxy/test_exchange.py::test_two_settlements_are_one
    proxy/test_tree_of_money.py::test_any_interleaving
I5 refused: nothing has changed anywhere
    proxy/test_ledger.py::test_a_refusal_changes_nothing_but_says_the_end
    proxy/test_tree_of_money.py::test_any_interleaving
I6 after a crash at any instant and a recovery the ledger is not below the provider's bill
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_invariants.py::test_whatever_the_provider_does_no_limit_is_passed
    proxy/test_meter.py::test_cut_at_every_byte_it_is_never_below_the_bill_nor_above_the_hold
I7 after a recovery nothing is held
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_ledger.py::test_after_a_start_nothing_is_held_and_everything_is_charged
    proxy/test_tree_of_money.py::test_any_interleaving
I8 the provider's own bill is within every limit, whatever it bills up to the hold
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_invariants.py::test_whatever_the_provider_does_no_limit_is_passed
I9 no byte goes upstream without an open hold
    crash/test_money.py::test_no_limit_is_passed_and_no_bill_is_missing
    proxy/test_exchange.py::test_nothing_leaves_without_an_open_hold
    proxy/test_invariants.py::test_whatever_the_provider_does_no_limit_is_passed
I10 a child's limit, however changed, raises none above it
    service/test_budgets.py::test_a_change_below_raises_nothing_above
"""

import random
import re
from pathlib import Path

import apsw
import pytest
import trio

from dashd import store
from dashd.proxy.caller import Patience
from dashd.proxy.ledger import Ledger
from dashd.store import budgets, holds
from tests.fakes.clock import FixedClock
from tests.fakes.provider import Act, Provider, open_provider
from tests.proxy.world import SWARM, World, ask, chat, check_tree, open_world, request

TESTS = Path(__file__).parents[1]
CLIENTS = 8
CALLS = 16
LIMIT = 250_000_000
HASTIER = Patience(
    first_byte_s=0.15, whole_s=0.15, idle_s=0.1, total_s=2, line_s=3, held_s=3, retry_s=0.4, drain_s=0.05
)


def test_the_table_above_names_tests_that_there_are():
    assert __doc__ is not None
    named = re.findall(r"^I(\d+) |^    (\S+)::(\w+)$", __doc__, re.MULTILINE)
    assert [int(number) for number, _, _ in named if number] == list(range(1, 11))
    for path, name in {(path, name) for _, path, name in named if path}:
        assert re.search(rf"\b{name}( =|\()", (TESTS / path).read_text()), f"{path} has no {name}"


def random_act(chance: random.Random) -> Act:
    status = chance.choices([200, 429, 500, 529, 400, 404], [20, 1, 1, 1, 1, 1])[0]
    no_room = status == 529 and chance.random() < 0.5
    return Act(
        status=status,
        input_share=chance.random(),
        output_share=chance.choice([0.0, 0.05, 0.3, 1.0]),
        usage=chance.choice(["once", "once", "once", "twice", "none"]),
        cut_at=chance.choice([None, None, None, None, chance.randrange(1, 1_500)]),
        stall_at=chance.choice([None] * 7 + [chance.randrange(0, 1_200)]),
        delay_s=chance.choice([0.0, 0.0, 0.01]),
        retry_after="0.01" if status == 429 else None,
        bills=chance.random() < 0.5 if status >= 500 and not no_room else None,
        error={"type": "overloaded_error" if no_room else "server_error", "message": "no"},
    )


async def random_client(world: World, number: int, chance: random.Random) -> None:
    for _ in range(CALLS):
        messages = chance.random() < 0.3
        body = chat("x" * chance.randrange(0, 3_000), stream=chance.random() < 0.7, max_tokens=800)
        path = "/v1/messages" if messages else "/v1/chat/completions"
        sent = request(body, key=f"key-{number}", path=path)
        if chance.random() < 0.75:
            said = await ask(world.port, sent)
            assert said.status in (200, 400, 402, 404, 503), said
            continue
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(sent[: chance.randrange(1, len(sent) + 1)])
            with trio.move_on_after(chance.random() * 0.05):
                await stream.receive_some(chance.randrange(1, 4_000))


class Witness:
    """Looks at snapshots while calls are under way, and at copies of the database as a crash would leave
    it.
    """

    def __init__(self, world: World, provider: Provider, folder: Path) -> None:
        self.world = world
        self.provider = provider
        self.folder = folder
        self.wrong: list[str] = []
        self.snapshots = 0
        self.copies: list[tuple[Path, int]] = []

    async def look(self) -> None:
        while True:
            self.wrong += await self.world.store.reader.read(check_tree)
            self.snapshots += 1
            if self.snapshots % 25 == 0:
                copy = self.folder / f"copy{self.snapshots}.db"
                # Billed before the copy: each of these calls must be held or settled in it.
                billed = self.provider.bill_nusd
                await trio.to_thread.run_sync(_copy, self.world.store.path, copy)
                self.copies.append((copy, billed))  # who is cancelled by then has made none
            await trio.sleep(0.002)


def _copy(source: Path, target: Path) -> None:
    db = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.execute("VACUUM INTO ?", (str(target),))
    finally:
        db.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_the_provider_does_no_limit_is_passed(tmp_path: Path, seed: int):
    """I1, I2, I3, I6, I7, I8, I9."""
    chance = random.Random(seed)
    provider = Provider(lambda _: random_act(chance))
    with trio.fail_after(60):
        async with (
            open_provider(provider),
            open_world(tmp_path, limit=LIMIT, agents_count=CLIENTS, patience=HASTIER, deadline_s=60) as world,
        ):
            world.use(provider, provider)
            world.registry.providers["p1"].format = "anthropic"
            for configured in world.registry.providers.values():
                configured.circuits.provider.failures_max = 10**6
            await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, *["notify"] * 3))
            unheld: list[int] = []

            async def note() -> None:
                if not (await world.budget()).held_nusd:
                    unheld.append(provider.calls)

            provider.on_call = note
            witness = Witness(world, provider, tmp_path)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(witness.look)
                async with trio.open_nursery() as clients:
                    for number in range(CLIENTS):
                        clients.start_soon(random_client, world, number, random.Random(seed * 100 + number))
                await world.settled()  # callers that hung up are still being drained
                nursery.cancel_scope.cancel()
            row = await world.budget()
            assert witness.wrong == []
            assert unheld == []
            assert provider.calls > CLIENTS
            assert provider.bill_nusd <= row.spent_nusd <= LIMIT
            assert await world.store.reader.read(check_tree) == []
        for copy, billed in witness.copies:
            await _recover(copy, billed)
        assert witness.copies


async def _recover(copy: Path, billed: int) -> None:
    """What a start finds after a crash at that instant."""
    async with store.open_store(copy, FixedClock()) as opened:
        await Ledger(opened).recover()
        row = await opened.reader.read(lambda db: budgets.get(db, SWARM))
        assert row.held_nusd == 0
        assert billed <= row.spent_nusd <= LIMIT
        assert await opened.reader.read(lambda db: holds.open_holds(db)) == []
        assert await opened.reader.read(check_tree) == []


@pytest.mark.slow
async def test_nobody_starves_on_a_budget_that_covers_the_real_cost(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    """20 agents, five calls each, on 1.3 times what these cost: all finish, although each holds far more."""
    act = Act(input_share=0.3, output_share=0.0, delay_s=0.002)
    agents, calls, body = 20, 5, chat("y" * 2_000)
    real = await _real_cost(tmp_path_factory.mktemp("one"), act, body)
    limit = real * agents * calls * 13 // 10
    done: list[int] = []
    with trio.fail_after(30):
        async with (
            open_provider(Provider(lambda _: act)) as provider,
            open_world(tmp_path, limit=limit, agents_count=agents) as world,
        ):
            world.use(provider)

            async def work(number: int) -> None:
                for _ in range(calls):
                    said = await ask(world.port, request(body, key=f"key-{number}"))
                    assert said.status == 200, said.body
                done.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(agents):
                    nursery.start_soon(work, number)
            assert len(done) == agents
            assert (await world.budget()).spent_nusd == provider.bill_nusd <= limit


async def _real_cost(folder: Path, act: Act, body: bytes) -> int:
    async with open_provider(Provider(lambda _: act)) as provider, open_world(folder) as world:
        world.use(provider)
        await ask(world.port, request(body))
        return provider.bill_nusd
