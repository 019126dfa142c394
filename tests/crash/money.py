"""One run of the money: eight processes call models through daemons that die, and everybody keeps books.

The provider keeps its own bill on disk, the auditor looks at every snapshot from outside, the callers write
down what they saw. Budgets run out at every level of the tree and are extended while calls are under way.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from tests.crash.auditor import Auditor
from tests.crash.client import Client, Gone
from tests.crash.home import TOP, Home
from tests.fakes import dashd_of_callers

CALLER = Path(__file__).with_name("caller.py")
CLIENTS = 8
THREADS = 3
CALL_USD = 0.003
"""About what a call costs."""
TICK_S = 0.05
RECOVERED = "recovery.before_adopt"
"""The ledger has been recovered, and no agent is served yet."""
POINTS = ("writer.before_begin", "writer.before_commit", "writer.after_commit", "writer.before_answer")
PROVIDERS = {
    "chat": ("openai-chat", "m-1"),
    "other": ("openai-chat", "m-1"),
    "messages": ("anthropic", "m-2"),
    "responses": ("openai-responses", "m-3"),
}
MARGIN_S = 3.0
"""How long after a kill the provider may still read what the dead daemon has sent."""


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    calls: int
    kills: int
    seed: int


@dataclass
class Books:
    """What everybody wrote down, in nano-dollars, by budget."""

    billed: dict[str, int]
    spent: dict[str, int]
    held: dict[str, int]
    limits: dict[str, int | None]
    open_holds: int


@dataclass
class Told:
    """The figures of a run."""

    calls: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    billed_calls: int = 0
    billed_usd: float = 0.0
    spent_usd: float = 0.0
    unconfirmed_usd: float = 0.0
    kills: int = 0
    recoveries_checked: int = 0
    snapshots: int = 0
    closest_nusd: int | None = None
    ran_out: Counter[str] = field(default_factory=Counter)
    """How often a budget of each kind came to its end."""
    bases: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0


class Run:
    """One run, in a folder of its own."""

    def __init__(self, home: Home, plan: Plan) -> None:
        self.home = home
        self.plan = plan
        self.told = Told()
        self.chance = random.Random(plan.seed)
        self.killed_at: list[float] = []
        self.swarms: list[str] = []
        self.bill = home.path / "bill"
        home.program = dashd_of_callers.argv(CALLER, hasty=True)

    def run(self) -> Told:
        """All of it; raises AssertionError where anything is not as it must be."""
        began = time.monotonic()
        with provider(self.bill, self.home.database, "wild", self.plan.seed) as port:
            self._start()
            with contextlib.closing(self.home.client()) as client:
                self._set_up(client, port)
            with Auditor(self.home.database) as auditor:
                for number in range(self.plan.kills):
                    # One kill cuts a call for certain; the others come when they come.
                    self._live((number + 1) * self.plan.calls // (self.plan.kills + 1), cut=number == 0)
                    self._check(number)
                self._finish()
            self.home.stop()
        self.home.wait_empty()
        assert not auditor.wrong, auditor.wrong
        self.told.snapshots, self.told.closest_nusd = auditor.snapshots, auditor.closest_nusd
        assert auditor.closest_nusd is not None
        assert auditor.closest_nusd >= 0
        self._close_books(recovered=True)
        self._close_account()
        self.told.took_s = time.monotonic() - began
        return self.told

    # --- lives --------------------------------------------------------------------------------------------

    def _start(self, crash_at: str | None = None) -> None:
        line = self.home.start(crash_at)
        if crash_at is not None and crash_at != RECOVERED and not line:  # its start wrote that often already
            assert self.home.ended() == -9, self.home.log()
            line = self.home.start()
        assert line.startswith("READY") or crash_at == RECOVERED, f"{line}\n{self.home.log()}"

    def _set_up(self, client: Client, port: int) -> None:
        for name, (form, model) in PROVIDERS.items():
            url = f"http://127.0.0.1:{port}/v1"
            client.call("provider.add", name=name, format=form, url=url, secret="sk-1", models=[model])
            client.call("model.set", model=model, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
        all_usd = self.plan.calls * CALL_USD
        actions = {"at_100": "none"}
        client.call("budget.set", budget="project", limit_usd=0.25 * all_usd, actions=actions)
        for name, tight in (("a", 0.1), ("b", 0.2)):
            items = [self._item(f"{name}{number}") for number in range(CLIENTS // 2)]
            created = client.call(
                "swarm.create",
                task="calls",
                agents=len(items),
                items=items,
                driver="embedded",
                model="m-1",
                cwd=str(self.home.path),
                budget=tight * all_usd,
                agent_budgets={"1": 0.02 * all_usd, "2": 0.05 * all_usd},
                limits={"grace_s": 1, "retries": 0, "timeout_s": 3_600},
            )
            self.swarms.append(created["id"])
        # Under `pause`, which is the default, a call that does not fit is held; under `none` it is refused.
        client.call("budget.set", budget=self.swarms[0], actions=actions)
        for number in range(1, CLIENTS // 2):
            client.call("budget.set", budget=f"{self.swarms[0]}-{number:03}", actions=actions)

    def _item(self, name: str) -> str:
        return json.dumps(
            {
                "seed": self.plan.seed,
                "client": name,
                "calls": self.plan.calls // CLIENTS,
                "threads": THREADS,
                "journal": str(self.home.path / f"calls.{name}"),
            }
        )

    def _live(self, until: int, *, cut: bool) -> None:
        """Lets calls be made until there are so many, then kills the daemon, if it is not dead by then.

        With `cut` while the ledger says that a call is open; else at a random instant.
        """
        assert self.home.daemon is not None
        client = self.home.client()
        give_up_at = time.monotonic() + self._patience_s
        while self._made() < until and self.home.daemon.poll() is None:
            assert time.monotonic() < give_up_at, f"only {self._made()} of {until} calls were made"
            with contextlib.suppress(Gone):
                self._tend(client)
            time.sleep(TICK_S)
        while cut and not self._stopped_in_a_call():
            assert time.monotonic() < give_up_at, "no call was ever open"
            self._tend(client)
        client.close()
        if not cut:
            time.sleep(self.chance.uniform(0, 0.05))  # nothing is waited for: any instant is right
        self.home.kill()
        self.killed_at.append(time.monotonic())
        self.told.kills += 1

    def _stopped_in_a_call(self) -> bool:
        """Stops the daemon, so that what is open stays open; lets it go on where no call is."""
        assert self.home.daemon is not None
        self.home.daemon.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.home.daemon.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if self._books().open_holds:
            return True
        self.home.daemon.send_signal(signal.SIGCONT)
        return False

    def _check(self, number: int) -> None:
        """While no daemon lives: the books as a crash left them, then as a start has made them."""
        self._close_books(recovered=False)
        if number % 2 == 0:
            self._start(RECOVERED)
            if self.home.ended() == -9:  # else everybody has gone home, and nobody is left to adopt
                self._close_books(recovered=True)
                self.told.recoveries_checked += 1
        point = f"{self.chance.choice(POINTS)}:{self.chance.randint(5, 200)}"
        self._start(point if number % 2 else None)

    def _finish(self) -> None:
        """The last life: until every caller has gone home."""
        assert self.home.daemon is not None
        if self.home.daemon.poll() is not None:
            self.home.ended()
        else:
            self.home.kill()
        self._start()
        with contextlib.closing(self.home.client()) as client:
            give_up_at = time.monotonic() + self._patience_s
            while client.call("swarm.list", states=["active", "paused"])["total"]:
                assert time.monotonic() < give_up_at, f"they do not end; {self._made()} calls were made"
                self._tend(client)
                time.sleep(TICK_S)
            for swarm in self.swarms:
                report = client.call("swarm.report", swarm=swarm)
                assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 0), report

    def _tend(self, client: Client) -> None:
        """What a person does: money for budgets that have run out, a look after a frozen provider."""
        for node in self._exhausted():
            if self.chance.random() < 0.4:
                usd = self.plan.calls * CALL_USD * self.chance.uniform(0.03, 0.12)
                client.call("budget.extend", budget=node, usd=usd)
        for each in client.call("provider.list")["providers"]:
            if each["frozen"]:
                client.call("provider.test", name=each["name"])

    @property
    def _patience_s(self) -> float:
        return 60 + self.plan.calls / 10

    # --- books --------------------------------------------------------------------------------------------

    def _made(self) -> int:
        """Calls that have ended, by the callers' own journals."""
        return sum(path.read_bytes().count(b"\n") for path in self.home.path.glob("calls.*"))

    def _exhausted(self) -> list[str]:
        return [name for (name,) in _rows(self.home.database, "SELECT id FROM budget WHERE reached = 100")]

    def _books(self) -> Books:
        rows = list(
            _rows(self.home.database, "SELECT id, parent_id, held_nusd, spent_nusd, limit_nusd FROM budget")
        )
        (open_holds,) = next(
            iter(_rows(self.home.database, "SELECT count(*) FROM hold WHERE state = 'open'"))
        )
        above = {name: parent for name, parent, *_ in rows}
        billed: dict[str, int] = defaultdict(int)
        for line in lines(self.bill):
            node: str | None = line["payer"]
            while node is not None:
                billed[node] += line["nusd"]
                node = above[node]
        return Books(
            billed=billed,
            held={name: held for name, _, held, _, _ in rows},
            spent={name: spent for name, _, _, spent, _ in rows},
            limits={name: limit for name, _, _, _, limit in rows},
            open_holds=open_holds,
        )

    def _close_books(self, *, recovered: bool) -> None:
        """No bill above a limit; after a recovery nothing is held, and no ledger is below its bill."""
        books = self._books()
        for name, limit in books.limits.items():
            billed, spent, held = books.billed[name], books.spent[name], books.held[name]
            assert billed <= spent + held, f"I6: {name} was billed {billed}, and has {spent} + {held}"
            assert limit is None or billed <= limit, f"I8: {name} was billed {billed} of {limit}"
            if recovered:
                assert held == 0, f"I7: {name} still holds {held}"
                assert billed <= spent, f"I6: {name} was billed {billed}, and has spent {spent}"
        assert not (recovered and books.open_holds), f"I7: {books.open_holds} holds are open"

    def _close_account(self) -> None:
        """What is only to be seen at the end."""
        told, database = self.told, self.home.database
        bill = list(lines(self.bill))
        unheld = [line for line in bill if line["held"] is not None and line["held"] < line["nusd"]]
        for (
            line
        ) in unheld:  # I9, unless a dead daemon's last bytes were read after a new one had settled them
            assert any(0 <= line["at"] - at <= MARGIN_S for at in self.killed_at), f"I9: {line}"
        journals = [path.read_text().split() for path in self.home.path.glob("calls.*")]
        told.ended.update(ended for words in journals for ended in words[1::2])
        told.calls = told.ended.total()
        assert told.calls == self.plan.calls // CLIENTS * CLIENTS
        told.billed_calls, told.billed_usd = len(bill), sum(line["nusd"] for line in bill) / 1e9
        assert (
            list(_rows(database, "SELECT id FROM budget WHERE overrun_nusd > 0 OR frozen IS NOT NULL")) == []
        )
        query = "SELECT spent_nusd / 1e9, unconfirmed_nusd / 1e9 FROM budget WHERE id = 'project'"
        told.spent_usd, told.unconfirmed_usd = next(iter(_rows(database, query)))
        query = (
            "SELECT b.kind, count(*) FROM budget_change c JOIN budget b ON b.id = c.budget_id"
            " WHERE c.kind = 'threshold' AND c.why NOT IN ('75 %', '90 %') GROUP BY b.kind"
        )
        told.ran_out.update(dict(_rows(database, query)))
        told.bases.update(dict(_rows(database, "SELECT basis, count(*) FROM hold GROUP BY basis")))


@contextlib.contextmanager
def provider(bill: Path, database: Path, script: str, seed: int) -> Iterator[int]:
    """The scripted provider as a process; its port."""
    argv = [sys.executable, "-m", "tests.fakes.provider_process", str(bill), str(database), script, str(seed)]
    with subprocess.Popen(argv, cwd=TOP, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            assert process.poll() is None, "the provider has ended by itself"
            process.kill()


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Of a file with one JSON object a line, that somebody may be writing right now."""
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def _rows(database: Path, query: str) -> Iterator[Any]:
    # By the same library as the auditor: one process must not have two of them on one file, because each
    # takes the other's locks away when it closes (https://sqlite.org/howtocorrupt.html).
    db = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(10_000)
        yield from db.execute(query)
    finally:
        db.close()
